// The language of jobs. A job is a function that says what is done with a stream:
//
//   #include <millrace/job.h>
//
//   MILLRACE_JOB(word_count, "how often each word of a text occurs") {
//     job.lines().flat_map(millrace::split_words).count_by_value().publish("counts").rank("top", 1000);
//   }
//
// Stream and Table (stream/stream.h) are what it is said in, JobBuilder (stream/job_builder.h) is `job`, and
// stream/codec.h says what a key and a value can be.
#pragma once

#include "stream/job_builder.h"
#include "stream/job_library.h"
#include "stream/unicode_words.h"

// By this name the engine finds a library's jobs.
extern "C" [[gnu::used, gnu::visibility("default")]] inline const millrace::JobLibrary* millrace_job_library() {
  return &millrace::internal::this_job_library();
}

// Defines a job, at global scope; its body says what it does with `job`, a millrace::JobBuilder.
#define MILLRACE_JOB(name, description)                                                             \
  static void millrace_define_##name(::millrace::JobBuilder& job);                                  \
  extern const ::millrace::JobDefinition millrace_job_##name;                                       \
  const ::millrace::JobDefinition millrace_job_##name{#name, description, &millrace_define_##name}; \
  static const ::millrace::internal::RegisteredJob millrace_registered_##name(millrace_job_##name); \
  static void millrace_define_##name([[maybe_unused]] ::millrace::JobBuilder& job)
