// A library of another version of the engine, of which only the first field is known.
struct Library {
  const char* interface;
};
extern "C" const Library* millrace_job_library();
extern "C" const Library* millrace_job_library() {
  static constexpr Library kLibrary{"Millrace 0.0.9, interface 012345678901, gcc 2, libstdc++ 2"};
  return &kLibrary;
}
