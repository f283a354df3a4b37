// The public services of a Millrace master: Control, Query and Ingest, multiplexed by service name on the port of
// --api (framed transport, binary protocol). The command line uses nothing else.
//
// Sizes: a message is at most 16 MiB, a list at most 100,000 elements; what exceeds that is refused.

namespace cpp millrace.api
namespace py millrace_api

// GONE: it was there, and is not kept any more.
enum ErrorKind { INVALID = 1, NOT_FOUND = 2, EXISTS = 3, UNAVAILABLE = 4, TIMED_OUT = 5, INTERNAL = 6, GONE = 7 }

exception Failure {
  1: ErrorKind kind
  2: string message      // cause, place and remedy, in one line
}

// A point of a job's life. Within one job the tuple (incarnation, batch) of the answers never goes back.
struct AsOf {
  1: string job_id       // 16 hex digits
  2: i32 incarnation
  3: i64 epoch
  4: i64 batch
}

// Something that a job keeps from batch to batch.
struct StatePlan {
  1: string name
  2: string layout                  // of its entries in checkpoints
  3: list<string> of                // states whose changes reach it
  4: list<string> reads             // former layouts whose entries the code makes its own of
}

// What a job appends.
struct OutputPlan {
  1: string name
  2: string format                  // of its lines: text, json, csv; empty: they go to a function of the job's own
  3: i32 parts = 1                  // each in an order of its own
}

// A table that a job publishes: {JOB}:NAME and {JOB}:RANK in Redis.
struct TablePlan {
  1: string name
  2: i8 form = 0                    // how Redis holds it; 0: a hash
  3: string rank                    // empty: none
  4: bool rank_all = false          // the rank in Redis holds every key
  5: i64 rank_size = 0
}

// What the master has to know of a job whose code it never runs.
struct JobPlan {
  1: string values                  // 1 to 4: of a client that knows of one table only; others say `tables`
  2: string rank                    // empty: none
  3: bool rank_all = false
  4: i64 rank_size = 0
  5: bool needs_time = false
  6: bool removes = false
  7: i32 levels = 1
  8: list<StatePlan> states
  9: list<OutputPlan> outputs
  10: i64 event_delay_ms = -1        // of its event time; negative: it has none
  11: i64 event_idle_ms
  12: list<TablePlan> tables
}

struct SubmitRequest {
  1: string name                    // 1-64 of A-Z a-z 0-9 _ - .
  2: string type                    // a built-in job, e.g. word_count
  3: string source                  // kafka://HOST:PORT[,HOST:PORT]/TOPIC or log://NAME
  4: string sink                    // redis://[USER[:PASSWORD]@]HOST[:PORT][/DB] or none:
  5: i64 batch_interval_ms = 100
  6: i64 checkpoint_interval_ms = 1000
  7: string start = "earliest"      // earliest, latest, a time in UTC (2026-11-21T20:30:00Z), or offsets
                                     // (0=1500,1=0; orders:0=1500,payments:0=0)
  8: map<string, string> settings
  9: map<string, string> source_config   // librdkafka settings
  10: bool take_over = false        // replace keys of another job in the sink
  11: i64 max_record_bytes = 1048576
  12: i32 state_partitions = 64
  13: bool fail_on_bad_record = false
  14: map<string, string> sink_config     // of redis: username, password
  15: binary library                // a shared library that defines `type`, up to 12 MiB; empty: a built-in job
  16: JobPlan plan                  // of the library's job, as `millrace explain --json` tells it
  17: string receiver               // socket://HOST:PORT or directory:///PATH, whose lines one of the job's executors
                                    // appends to `source`; empty: others do
  18: map<string, string> outputs   // where it appends: file:///DIR or kafka://HOST:PORT/TOPIC by the output's name
  19: map<string, string> output_config   // librdkafka settings
}

struct JobSummary {
  1: string name
  2: string type
  3: string state                   // running, stopping, stopped, failed
  4: AsOf applied
  5: i64 published
  6: i64 records
  7: i64 emitted                    // what the map made of the records: of word_count the words
  8: i64 dead_letters
  9: i64 lag_records                // of the source that are not applied, as far as its end is known
  10: string problem                // empty when all is well
  11: i64 changed                   // the newest applied batch that changed anything; all is published once `published` is there
  12: i64 late                      // records that came too late for some window by event time; no dead letters
  13: i64 watermark_ms              // up to which event time all records have come, as of `applied`; 0: none
}

struct ExecutorSummary {
  1: string process
  2: string worker
  3: i32 state_partitions
  4: i32 log_partitions
  5: i64 applied
  6: i64 keys
  7: i64 memory_bytes
}

// What a batch goes through: from when the first lane begins with it until the last one has ended, in microseconds since
// the batch's cut, negative: before. Steps overlap. README, "Where does the time go", says what each of them is.
struct BatchStep {
  1: string name                    // fetch, wait, map, shuffle, commit, reduce, report, checkpoint, publish
  2: i64 begin_us
  3: i64 end_us
  4: i64 held_us                    // how long this step was all that the batch waited for; sums to applied_us
  5: i64 busy_us                    // of map, reduce, checkpoint: at work, fetch: without data; summed over lanes
  6: i32 lanes                      // that had a part in it, of fetch: log partitions; 0: not known, like what follows
  7: i64 lane_p50_us                // their times: from begin to end, of fetch without data, of checkpoint the longest
                                    // that nothing else was done
  8: i64 lane_most_us
  9: string slowest                 // which that is: "HOST:PID lane 2", of fetch the log partition
}

struct BatchProfile {               // of one batch, in microseconds since its cut
  1: i64 batch
  2: i64 records
  3: i64 durable_us
  4: i64 mapped_us                  // the master has heard of the last map; 0: of none
  5: i64 applied_us
  6: i64 published_us               // by a publication that it is in; 0: not yet
  7: i64 bytes                      // of the records, as the log has them
  8: i64 time_ms                    // its batch time
  9: i64 newest_ms                  // greatest time stamp of a record batch that it ends with, 0: none
  10: i64 published_by              // the batch of the publication that it is in; 0: not yet
  11: list<BatchStep> steps         // in the order of `name`; those that it had none of are missing
}

// Of the newest batches that the present master has seen applied, oldest first.
struct BatchProfiles {
  1: AsOf as_of
  2: i64 now_ms                     // wall time of the master
  3: list<BatchProfile> batches
}

struct JobDescription {
  1: JobSummary summary
  2: string source                  // secrets masked
  3: string sink
  4: i64 batch_interval_ms
  5: i64 checkpoint_interval_ms
  6: map<string, string> settings
  7: i32 state_partitions
  8: i64 checkpoint_batch           // of the newest complete checkpoint, 0: none
  9: list<ExecutorSummary> executors
  10: list<BatchProfile> recent     // the newest 20, without steps
  11: i64 recovering_partitions
  12: string receiver               // empty: none
  13: i32 version                   // of the job's code, plan and settings
  14: map<string, string> outputs   // where it appends, by the output's name
  15: string watermark_held_by      // of a job by event time: what its watermark waits for, empty: it has none
  16: list<TablePlan> tables        // that it publishes
}

struct WorkerSummary {
  1: string process
  2: string name
  3: string endpoint
  4: i32 lanes
  5: string state                   // ready, draining
  6: list<string> jobs
  7: string http
  8: string problem                 // why it has no executor for one of the jobs; empty when all is well
}

struct PartitionLag {
  1: i32 partition
  2: i64 applied_offset             // next offset after the applied batch
  3: i64 end_offset
  4: string topic                  // that it is a partition of
}
struct Lag {
  1: AsOf as_of
  2: list<PartitionLag> partitions
  3: string problem                 // why the ends are only the last known; empty when they are those of now
}

// A complete checkpoint that is kept. Those of one job have different batches.
struct Checkpoint {
  1: i64 batch                      // the state after it
  2: i32 incarnation                // that made it
  3: i64 time_ms                    // of the batch
  4: i64 size_bytes                 // of its files, which checkpoints share
  5: i32 files
  6: i32 version                    // of the job's code, plan and settings
}

// Other code, or other settings, for a job that is there.
struct UpgradeRequest {
  1: string name
  2: string type                    // as in a SubmitRequest, like all that follows
  3: map<string, string> settings   // all of them, whatever the job has now
  4: binary library
  5: JobPlan plan
  6: i32 from_version               // of the job as it is now, so that an upgrade is not done twice
  7: list<string> drop              // states that may be dropped with what they hold; one that is not dropped is INVALID
}

struct StateChange {
  1: string name
  2: string fate                    // kept, migrated (by a function of the code), new (it begins empty), dropped
  3: string layout                  // of what it keeps: in the new code, or of what is dropped
  4: string former_layout           // of what is migrated: in the checkpoint
  5: string note                    // what is lost, or finds nothing to go on with; as a rule empty
}

struct UpgradePlan {
  1: i32 version                    // that the job will have
  2: list<StateChange> states
  3: string problem                 // why upgrade() refuses it as it was asked for: `drop` is not what is dropped
}

struct JobTypeSetting {
  1: string name
  2: string default_value
  3: string description
}

// A job that the master's program knows, for `type` of a SubmitRequest.
struct JobType {
  1: string name
  2: string description
  3: list<JobTypeSetting> settings
}

service Control {
  JobSummary submit(1: SubmitRequest request) throws (1: Failure failure)
  list<JobSummary> jobs() throws (1: Failure failure)
  list<JobType> job_types() throws (1: Failure failure)
  JobDescription describe(1: string name) throws (1: Failure failure)
  // Takes a last checkpoint and waits until the job is stopped.
  JobSummary stop(1: string name) throws (1: Failure failure)
  JobSummary resume(1: string name) throws (1: Failure failure)
  // A stopped or failed job goes on from the checkpoint of this batch, as a new incarnation: what came after it is
  // forgotten, read again and published anew. Newer checkpoints are given up. It has the code of that checkpoint's version.
  JobSummary resume_from(1: string name, 2: i64 batch) throws (1: Failure failure)
  // What an upgrade would do, also to a job that runs. INVALID says why it cannot be, `problem` why it is not done as
  // long as nobody agrees to it.
  UpgradePlan plan_upgrade(1: UpgradeRequest request) throws (1: Failure failure)
  // A stopped or failed job goes on from its newest checkpoint by the new code, as a new incarnation. The checkpoint is
  // kept until the next upgrade, for resume_from. Where it fails the job stays as it is.
  JobSummary upgrade(1: UpgradeRequest request) throws (1: Failure failure)
  // Forgets the job and its checkpoints; with `purge` its keys in the sink too.
  void kill(1: string name, 2: bool purge) throws (1: Failure failure)
  // The kept ones, oldest first, and before them the one that the newest upgrade began with.
  list<Checkpoint> checkpoints(1: string name) throws (1: Failure failure)
  // The newest n (1 to 600) of those that are kept, 600 at most; with `before` not 0 of those before this batch.
  BatchProfiles batches(1: string name, 2: i32 n, 3: i64 before) throws (1: Failure failure)
  list<WorkerSummary> workers() throws (1: Failure failure)
  Lag lag(1: string name) throws (1: Failure failure)
}

struct Value { 1: string key, 2: string text, 3: bool found }
struct Values { 1: AsOf as_of, 2: list<Value> values, 3: string table }
// Of an index: some of the members of a key, by (count descending, member ascending as bytes).
struct DocsRequest {
  1: string name
  2: binary key
  3: string table        // empty: the first one that is an index
  4: i32 limit = 10      // 1 to 1,000
  5: string after        // `next_page` of the page before; empty: the first page
  6: i64 at_least        // as for get()
}
struct Doc { 1: binary member, 2: i64 count }
struct Docs {
  1: AsOf as_of
  2: string table
  3: bool found          // there is such a key
  4: string value        // of the key: the number of its members, unless the job shows something else
  5: list<Doc> docs
  6: string next_page    // for the next page, which is as of its own batch; empty: this is the last one
}
// Follows what a table becomes.
struct ChangesRequest {
  1: string name
  2: string table        // empty: the first one
  3: AsOf after          // `position` of the answer before; none, or no job_id in it: the reader begins
  4: i32 wait_ms         // for something to tell, 0 to 30,000; then the answer has no batches
}
struct Change {
  1: string key
  2: string text         // its value now
  3: bool removed
}
struct BatchChanges {
  1: AsOf as_of
  2: list<Change> changes   // values as of this batch; where a key comes twice the last one holds
}
// The keys that changed after `after`, up to `position`, nothing missing: one BatchChanges for each publication of
// the job, which may have several batches.
struct Changes {
  1: AsOf position       // to ask from next
  2: bool reset          // what lies between `after` and `position` cannot be told, or there was no `after`: read what is
                         // shown anew, by get() or top() with at_least = position.batch, and go on from there,
                         // without the batches up to the one that those were as of
  3: list<BatchChanges> batches
  4: string table        // as in Values
}
// A page of the keys of a table, by their bytes.
struct SearchRequest {
  1: string name
  2: string table        // empty: the first one
  3: binary prefix       // that the keys begin with
  4: i32 limit = 100     // 1 to 1,000
  5: string after        // `next_page` of the page before; empty: the first page
}
struct Page {
  1: AsOf as_of          // the same for all pages: of a complete checkpoint, for the first page the newest one
  2: string table        // as in Values
  3: list<Value> entries // fewer than `limit` where they are large
  4: string next_page    // for the next page, which is of the same batch; empty: this is the last one
}
struct Totals {
  1: AsOf as_of          // as in Page; of a large table it may be of some checkpoints before
  2: string table
  3: i64 keys
  4: optional i64 sum    // of the values, where all of them are integers
}
struct DeadLetter { 1: string topic, 2: i32 partition, 3: i64 offset, 4: string reason, 5: i64 timestamp_ms }
struct DeadLetters { 1: i64 total, 2: list<DeadLetter> letters }

// `table`: of those that the job publishes; empty: the first one, for `top` the first one with a rank. NOT_FOUND lists
// them. In Values it is empty where there is only one.
service Query {
  // As of the job's applied batch, not before `at_least` (0: any) of the present incarnation; waits for it up to 10 s.
  Values get(1: string name, 2: list<binary> keys, 3: i64 at_least, 4: string table) throws (1: Failure failure)
  // The highest n (1 to 1,000) of the newest rank, as of the batch in the answer.
  Values top(1: string name, 2: i32 n, 3: i64 at_least, 4: string table) throws (1: Failure failure)
  Docs docs(1: DocsRequest request) throws (1: Failure failure)
  // Waits. Changes of the last minute or so are kept from the first question on, up to a bound of bytes; where one
  // publication alone changes too much (6 MiB), readers are reset.
  Changes changes(1: ChangesRequest request) throws (1: Failure failure)
  // What a complete checkpoint holds, page by page. It is kept for a minute after a page was read; GONE: begin again.
  // Not of windows and indexes, which checkpoints do not hold key by key.
  Page search(1: SearchRequest request) throws (1: Failure failure)
  // Counted anew when somebody asks, in the background, and not more often than costs little.
  Totals totals(1: string name, 2: string table) throws (1: Failure failure)
  // The oldest kept, from the given offset of a partition on, in the order of the source's topics (`from_topic` empty:
  // the first of them) and their partitions.
  DeadLetters dead_letters(1: string name, 2: i32 limit, 3: i32 from_partition, 4: i64 from_offset, 5: string from_topic)
    throws (1: Failure failure)
}

struct AppendResult { 1: i32 partition, 2: i64 first_offset, 3: i64 next_offset }

// Appends to the embedded log; the answer comes when the records are durable. A producer that numbers its appends
// may repeat one whose answer was lost: a sequence seen before is answered as the first time and not stored again.
service Ingest {
  // Makes the log if it is not there. Returns its number of partitions.
  i32 open_log(1: string log, 2: i32 partitions) throws (1: Failure failure)
  // `keys`: one for each record, or none.
  AppendResult append(1: string log, 2: i32 partition, 3: list<binary> records, 4: i64 producer_id, 5: i64 sequence,
    6: list<binary> keys) throws (1: Failure failure)
}
