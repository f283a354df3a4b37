// Which reader a Kafka source has: the setting `millrace.reader` of the source (direct, librdkafka; auto is the
// default: direct where nothing in the other settings asks for more than that speaks).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "adapters/kafka_options.h"
#include "adapters/kafka_reader_settings.h"
#include "common/base/error.h"
#include "common/seams/log.h"
#include "common/seams/task_loop.h"

namespace millrace {

// What a direct reader makes of these settings. kInvalid: the brokers are malformed, or a setting is one that it does
// not know how to honour; the message says which.
Result<KafkaReaderSettings> direct_reader_settings(const KafkaOptions& options, const DirectKafkaTiming& timing = {});

// kInvalid: bad settings, also a value of millrace.reader that is none, or `direct` where that cannot be.
Result<std::unique_ptr<Log>> open_kafka_log(KafkaOptions options, TaskLoop& loop);

}  // namespace millrace
