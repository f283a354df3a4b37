// The messages between the processes of a cluster: one Envelope (compact protocol) in the first ZeroMQ frame, bulk
// bytes in a second one. This file is the one list of what is said on the wire. What the numbers mean, and which
// message follows which, is in ARCHITECTURE.md, "The batch protocol".
//
// Compatibility: `protocol` of the header is compared at the handshake; another number is refused by name.
// Fields are only ever added, with new numbers.

namespace cpp millrace.wire

const i32 kProtocol = 12

enum Role { MASTER = 1, AGENT = 2, EXECUTOR = 3 }

struct Header {
  1: i32 protocol = kProtocol
  2: i64 sender        // process id (its incarnation)
  3: i64 receiver      // process id; 0 only in a Hello to an endpoint whose process is not known yet
  4: i64 sequence      // of the session sender -> receiver, from 1; 0: outside the sequence (Hello, Ack, Refused)
  5: i64 ack           // the receiver's messages up to here have arrived in order
  6: i64 job           // 0: none
  7: i32 incarnation
  8: i64 epoch         // of the master that the sender follows
  9: i64 generation    // the assignment that the sender follows
  10: i64 batch
  11: i32 attempt
}

// --- Messenger: sessions -----------------------------------------------------------------------------------------

struct Hello {           // first frame on each link, repeated until it is answered
  1: Role role
  2: string endpoint     // where the sender receives
  3: string version      // of the program, for people
  4: i64 link            // asks for an answer: the sender's name for the link that this goes over; 0: known already
  5: i64 answers         // the receiver's link that this answers: it leads to the sender; 0: none
}
struct Ack {             // nothing to say but the header's `ack`, and what is missing after it
  1: bool resend = false // send `missing` again, or all after `ack` where it is empty
  2: list<i64> missing   // pairs (first, last) of sequences, ascending
  3: i64 newest          // not 0: the newest sequence that was sent; to be answered by an Ack at once
}
struct Refused {         // the session cannot be, or has ended: cause and remedy, for people
  1: string reason
  2: i64 answers         // the receiver's link whose Hello this answers; 0: none
}

// --- agent <-> master --------------------------------------------------------------------------------------------

struct RunningExecutor { 1: i64 process, 2: i64 job }
struct RegisterWorker {
  1: string name         // host:pid, for people
  2: i32 lanes
  3: string http
  4: list<RunningExecutor> executors   // those that run on this worker already
}
struct WorkerAccepted {
  1: i64 lease_ms        // silence of the master after which nothing may be published
  2: i64 heartbeat_ms
}
struct StartExecutor {
  1: i64 process         // the process id that the new executor shall have
  2: string job_name
  3: i64 memory_limit_bytes  // 0: none
  4: string checkpoints      // URI of the checkpoint store
  5: string logs             // folder of the embedded logs, or empty
}
struct StopExecutor { 1: i64 process }
struct ExecutorEnded { 1: i64 process, 2: string reason }
struct DrainWorker {}    // the agent was told to leave: hand over what it holds
struct WorkerDrained {}  // it may end
// What an executor holds and does, for metrics; nothing is decided by it.
struct LaneFigures {
  1: i64 busy_us         // at work since the executor began
  2: i64 read_ahead_bytes
  3: i64 kept_bytes      // blocks, for replays
}
struct ExecutorFigures {
  1: list<LaneFigures> lanes
  2: i64 sink_waiting    // snapshots of state partitions that the sink does not hold yet
  3: i64 appends_waiting // batches of state partitions that the outputs do not hold yet
  4: i64 messages_bytes  // to other processes, not acknowledged
}
struct Heartbeat {       // from an executor: peers of its assignment that it could not reach for at least its lease
  1: list<i64> unreachable
  2: optional ExecutorFigures figures   // now and then
}

// --- executor <-> master -----------------------------------------------------------------------------------------

struct OwnedPartition {
  1: i32 partition
  2: i64 generation
  3: i64 applied
  4: optional i64 begun  // of a job with levels: the batch, beyond `applied`, that it is half way through
}

struct RegisterExecutor {
  1: i64 worker          // process id of its agent
  2: i32 lanes
  3: list<OwnedPartition> owned   // none for a new process
}
struct StatePlan {       // as common/model/job_plan.h has it
  1: string name
  2: string layout
  3: list<string> of
  4: list<string> reads
}
struct OutputPlan {      // as common/model/job_plan.h has it
  1: string name
  2: string format
  3: i32 parts = 1
}
struct TablePlan {       // as common/model/job_plan.h has it
  1: string name
  2: i8 form = 0         // TableForm
  3: string rank         // empty: none
  4: bool rank_all = false
  5: i64 rank_size = 0
}
struct JobPlan {         // what the engine has to know of a job's code without running it
  1: string values               // 1 to 4: the one table of a plan that was stored before there were `tables`
  2: string rank
  3: bool rank_all
  4: i64 rank_size
  5: bool needs_time
  6: bool removes
  7: i32 levels = 1
  8: list<StatePlan> states      // in the order in which checkpoints number them
  9: list<OutputPlan> outputs     // what is appended
  10: i64 event_delay_ms = -1    // of its event time; negative: it has none
  11: i64 event_idle_ms
  12: list<TablePlan> tables     // that it publishes
}
struct JobSpec {         // what an executor has to know of its job; also the registry's stored form
  1: string name
  2: string type                 // built-in job, e.g. word_count
  3: string source               // URI
  4: string sink                 // URI; may hold a password: never logged or shown as it is
  5: map<string, string> settings
  6: map<string, string> source_config   // librdkafka settings; may hold secrets
  7: i64 batch_interval_us
  8: i64 checkpoint_interval_us
  9: i32 state_partitions
  10: i32 partition_hash         // version of the hash of keys to state partitions
  11: i64 max_record_bytes
  12: bool fail_on_bad_record = false
  13: list<i64> start_offsets    // by log partition; a partition added later starts at its begin
  14: string topic_id
  15: i64 lane_memory_bytes      // bound of read-ahead and of kept blocks, each, per lane
  16: bool take_over = false
  17: i64 max_batch_records
  18: map<string, string> sink_config     // username, password: never logged or shown
  19: JobPlan plan
  20: string library             // file of the checkpoint store with the job's code; empty: the type is a built-in one
  21: i64 library_hash           // XXH3-64 of its bytes
  22: i32 version = 1            // of the job's code, plan and settings: the incarnation that began with it
  23: string receiver            // URI; the rank's owner brings its lines into `source`. Empty: nobody of the job does
  24: map<string, string> outputs         // where they are appended: by name, URIs
  25: map<string, string> output_config   // librdkafka settings of those in Kafka; may hold secrets
  26: list<i32> start_partitions // whose the start_offsets are; empty: of 0, 1, 2...
}
struct ExecutorAccepted {
  1: JobSpec spec
  2: string probe_name           // file of the checkpoint store that proves that both see the same
  3: string log_probe            // folder of the embedded logs, where the job reads one: it must be there too
  4: i64 lease_ms                // silence of the master after which nothing may be published
  5: i64 heartbeat_ms
  6: string api                  // HOST:PORT of the master's services
}
struct ExecutorReady { 1: string probe, 2: string problem }   // problem: why it cannot work, or empty
struct ResetExecutor { 1: string reason }                     // you were declared dead or your job is over: end

struct LogOwner { 1: i32 partition, 2: i64 process, 3: i64 read_from }
struct StateOwner { 1: i32 partition, 2: i64 process, 3: i64 generation }
struct Peer { 1: i64 process, 2: string endpoint }
struct CheckpointFile {
  1: string name
  2: i64 size
  3: i64 hash
  4: i64 entries
  5: list<i32> partitions
  6: i64 from_batch      // exclusive
  7: i64 to_batch        // inclusive
}
struct Assign {          // the whole truth of who owns what; header.generation is its number
  1: list<LogOwner> logs
  2: list<StateOwner> states
  3: list<Peer> peers
  4: i64 rank_owner      // process
  5: i64 durable         // newest batch of the batch log. At the first Assign of an epoch: forget plans, kept and held
                         // blocks beyond it that came with a lower assignment number
  6: i64 applied         // by every state partition, as far as was ever told
  7: i64 published       // newest complete publication round
  8: i64 checkpoint      // batch that a partition new to its owner restores
  9: list<CheckpointFile> files   // what it restores from, in the order of application
  10: i64 checkpoint_tick_ms      // the newest tick up to the checkpoint
  11: i32 checkpoint_version      // of the job, whose code wrote it; 0: there is none
  12: list<StatePlan> checkpoint_states   // what that code kept, in the order in which the checkpoint's keys number it
}
struct PlannedRange { 1: i32 partition, 2: i64 from_offset, 3: i64 to_offset, 4: i64 records, 5: i64 mapper }
struct RunBatch {        // header.batch; the plan of one batch
  1: i64 time_ms         // batch time, never decreasing; of a job that needs time a multiple of the batch interval
  2: list<PlannedRange> ranges   // of every log partition that has records in it, ascending
  3: bool checkpoint     // freeze after it
  4: bool publish        // snapshot for a publication round after it (implies rank)
  5: bool rank           // send rank candidates after it
  6: bool replay         // the plan of an old batch, for partitions that are being restored: no flag of 3 to 5 holds
  7: bool tick           // time has come to time_ms; otherwise it is that of the tick to come
  8: i64 watermark_ms    // of a job by event time, never decreasing; 0: none
  9: bool keep_changes   // with `publish`: what changed goes to the master, too, since somebody follows it
}
struct Progress {        // watermarks; each only rises within an epoch
  1: i64 durable         // reduce may go up to here
  2: i64 applied         // by every state partition: queries, old values no longer needed
  3: i64 checkpointed    // blocks and changed keys up to here may be forgotten
  4: i64 published
}
struct ReplayTask {
  1: i64 batch
  2: PlannedRange range
  3: list<i32> partitions  // none: the result only
  4: i64 time_ms           // of the batch, as in RunBatch
  5: i64 watermark_ms
}
struct Replay { 1: list<ReplayTask> tasks }

struct FetchedPartition { 1: i32 partition, 2: i64 reader_from, 3: i64 to_offset, 4: i64 records, 5: i64 bytes }
struct Fetched { 1: list<FetchedPartition> partitions }   // records and bytes since reader_from

struct DeadLetter { 1: i32 partition, 2: i64 offset, 3: string reason, 4: i64 timestamp_ms }
// When a range was mapped, the first time only: microseconds since the sender had the batch's plan, negative: before.
struct RangeTimes {
  1: i32 lane
  2: i64 begin_us
  3: i64 end_us          // its sections go to their owners
  4: i64 busy_us         // of that, without what the lane did in between
  5: i64 fetched_us      // the last of its bytes were here
  6: i64 waited_us       // how long the lane had nothing of the partition, although the log had
  7: i64 newest_ms       // time stamp of its newest record batch, 0: none
  8: i64 told_us         // this was told
}
struct MapResult {       // header.batch
  1: i32 partition
  2: i64 from_offset
  3: i64 to_offset
  4: i64 records         // read in the range, dead letters included
  5: i64 dead_letters
  6: i64 emitted         // pairs (words, for word_count)
  7: i64 fingerprint     // XXH3-64 over the block's sections: equal for every replay
  8: list<DeadLetter> letters   // the first ones, bounded
  9: i64 batch_ms        // of a job by event time: time_ms and watermark_ms of the plan that was mapped
  10: i64 watermark_ms
  11: i64 late           // records that came too late for some window
  12: i64 event_ms       // greatest event time, 0: none
  13: optional RangeTimes times   // for people; in no record
}
struct MapDone { 1: list<MapResult> results }
// When a lane reduced a batch that it was the first to apply; microseconds as in RangeTimes.
struct LaneTimes {
  1: i64 batch
  2: i32 lane
  3: optional i64 arrived_us   // the last section that it waited for; none: the batch has no records
  4: i64 begin_us        // the first of its state partitions begins
  5: i64 end_us          // the last one has applied it and given what others need as of the batch
  6: i64 busy_us
  8: i64 told_us
}
// Reports about partitions carry each one's generation, as the lane holds it: the master believes only the present
// owner's present generation.
struct Applied {
  1: list<OwnedPartition> partitions
  2: i64 keys
  3: i64 memory_bytes
  4: i64 changed         // newest batch that changed anything in a state partition of this process
  5: list<LaneTimes> times   // for people
}
struct LaneFreeze {      // what it took a lane to copy a checkpoint's increment
  1: i32 lane
  2: i64 busy_us
  3: i64 longest_us      // the longest time for which it did nothing else
}
struct Checkpointed {    // header.batch; increments of all partitions that this executor owned
  1: list<CheckpointFile> files
  2: string problem      // not empty: it failed, nothing was forgotten
  3: list<LaneFreeze> lanes
}
struct AbandonCheckpoint {}      // header.batch
struct MergeState { 1: list<CheckpointFile> files, 2: list<i32> partitions }   // header.batch; answered by Checkpointed
struct Published {       // header.batch
  1: list<OwnedPartition> partitions   // the sink holds them as of the batch
  2: list<OwnedPartition> lost         // the sink has lost them: these publish all their keys in the next round
}
struct ChangedKey { 1: optional i32 table, 2: string key, 3: optional string text, 4: optional bool removed }
struct ChangedKeys { 1: list<ChangedKey> keys }
struct ChangedPartition {
  1: i32 partition
  2: i64 generation
  3: i64 since           // the keys that changed in (since, header.batch], with their values as of header.batch
  4: binary keys         // a stored record: ChangedKeys; empty: none
}
// header.batch; before Published, on the same session. What cannot be told is missing, as `since` of the next one shows.
struct RoundChanges { 1: list<ChangedPartition> partitions }
struct EndRound { 1: map<string, string> status } // header.batch; to the rank's owner
struct RoundEnded { 1: bool lost = false }        // header.batch; lost: the sink lacks what was published before
struct FencedOut { 1: list<OwnedPartition> partitions }      // a younger owner has published; expected when frozen or cut off
struct Trouble {         // for people: shown by describe until what is ""
  1: string what
  2: bool fatal          // the job fails
  3: bool stuck          // shown when the sender is gone, too, until the job has got further
}

struct RestoreFailed { 1: string file, 2: string reason }   // a checkpoint file fails verification: take the one before

struct IndexMember { 1: string member, 2: i64 count }
struct Query {
  1: i64 id
  2: list<string> keys   // of state partitions that the receiver owns
  3: i64 at              // batch to answer as of; it waits for it
  4: i32 top             // > 0: instead of keys, the first n of the newest rank
  5: i32 table           // number in the job's plan
  6: i32 members         // > 0: of one key of an index, so many of its members: entries of the reply behind the key's own
  7: optional IndexMember after   // those behind this one
}
struct QueryEntry { 1: string key, 2: string text, 3: bool found, 4: i64 count }   // of a member: `key` and `count`
struct QueryReply {
  1: i64 id
  2: i64 batch
  3: list<QueryEntry> entries
  4: string problem
  5: bool final          // the problem does not go away by asking again
}
// A page of a table as a complete checkpoint holds it, from its files, whoever owns what; header.batch.
struct ReadView {
  1: i64 id
  2: list<CheckpointFile> files     // in the order of application
  3: i32 table                      // number in the job's plan
  4: string prefix                  // of the keys
  5: optional string after          // those behind this one
  6: i32 limit                      // entries
  7: bool totals = false            // instead of a page: of all of them
}
struct ViewReply {
  1: i64 id
  2: list<QueryEntry> entries       // ascending by their keys' bytes
  3: bool more = false              // there are some behind these
  4: i64 keys
  5: optional i64 sum               // of the values, where all are integers
  6: string problem
  7: bool gone = false              // a file is not there any more
  8: bool final = false             // as in QueryReply
}

// --- executor <-> executor ---------------------------------------------------------------------------------------

struct Shuffle {         // the bulk frame is a shuffle block (common/model/shuffle_block.h)
  1: optional list<i64> levels   // or level blocks, one after the other: their sizes
}
struct RankEntry { 1: string key, 2: string text, 3: double score }
struct RankCandidates {  // header.batch; many bytes of them are a stored record in the bulk frame, and none here
  1: list<i32> partitions
  2: list<RankEntry> entries
  3: i32 table           // number in the job's plan
}

union Body {
  1: Hello hello
  2: Ack ack
  3: Refused refused
  10: RegisterWorker register_worker
  11: WorkerAccepted worker_accepted
  12: StartExecutor start_executor
  13: StopExecutor stop_executor
  14: ExecutorEnded executor_ended
  15: DrainWorker drain_worker
  16: WorkerDrained worker_drained
  17: Heartbeat heartbeat
  30: RegisterExecutor register_executor
  31: ExecutorAccepted executor_accepted
  32: ExecutorReady executor_ready
  33: ResetExecutor reset_executor
  34: Assign assign
  35: RunBatch run_batch
  36: Progress progress
  37: Replay replay
  38: Fetched fetched
  39: MapDone map_done
  40: Applied applied
  41: Checkpointed checkpointed
  42: AbandonCheckpoint abandon_checkpoint
  43: MergeState merge_state
  44: Published published
  45: EndRound end_round
  46: RoundEnded round_ended
  47: FencedOut fenced_out
  48: Trouble trouble
  49: Query query
  50: QueryReply query_reply
  51: RestoreFailed restore_failed
  52: RoundChanges round_changes
  53: ReadView read_view
  54: ViewReply view_reply
  60: Shuffle shuffle
  61: RankCandidates rank_candidates
}

struct Envelope {
  1: Header header
  2: Body body
}

// --- what the master keeps ---------------------------------------------------------------------------------------

struct BatchRecord {     // one batch of the batch log: every choice that timing made
  1: i64 batch
  2: i64 epoch
  3: i64 time_ms
  4: list<PlannedRange> ranges
  5: i32 job_version = 1
  6: i64 watermark_ms = 0       // see RunBatch
  7: list<DeadLetter> quarantined
  8: string topic_id
  9: list<i32> leader_epochs
  10: bool tick = false  // see RunBatch
}
struct BatchTotals {     // cumulative up to `batch`
  1: i64 batch
  2: i64 records
  3: i64 dead_letters
  4: i64 emitted
  5: list<MapResult> results     // of `batch` alone, without letters: the fingerprints
  6: i64 late
  7: map<i32, i64> event_ms      // greatest event time by log partition
  8: i64 watermark_ms            // of `batch`
}
struct Manifest {        // what a checkpoint consists of; written last
  1: i32 format = 1
  2: i64 job
  3: i32 incarnation
  4: i64 epoch
  5: i64 batch
  6: list<i64> offsets   // by log partition: the next offset after `batch`
  7: list<CheckpointFile> files
  8: BatchTotals totals
  9: i64 time_ms
  10: string job_type
  11: i32 state_partitions
  12: i64 tick_ms = 0    // newest tick up to `batch`, 0: none
  13: i32 job_version = 1
  14: list<StatePlan> states     // what that version keeps, in the order in which the keys number it
  15: list<i32> partitions       // whose the offsets are; empty: of 0, 1, 2...
}
struct CheckpointRef {
  1: i64 batch
  2: string name         // of the manifest
  3: i64 hash
  // What the manifest says, for people.
  4: i32 incarnation
  5: i64 time_ms
  6: i64 bytes           // of its files, bases and increments
  7: i32 files
  8: i32 job_version
}
enum JobState { RUNNING = 1, STOPPING = 2, STOPPED = 3, FAILED = 4 }
struct FormerVersion {   // of a job, up to its newest upgrade
  1: JobSpec spec
  2: CheckpointRef checkpoint   // which the upgrade began with: it is kept, so that the job can go back to it
  3: list<string> files         // of that
}
struct JobRecord {       // registry entry
  1: i64 job
  2: i32 incarnation
  3: JobSpec spec
  4: JobState state
  5: string problem
  6: i64 created_ms
  7: list<CheckpointRef> checkpoints   // kept ones, oldest first
  8: optional FormerVersion former
}
struct AssignmentRecord {
  1: i64 generation
  2: list<LogOwner> logs
  3: list<StateOwner> states
  4: i64 rank_owner
}
