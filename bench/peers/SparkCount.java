// SparkCount BROKERS TOPIC WORDS COUNTS-FILE STATE-DIRECTORY: counts the words of a topic with Spark's Structured Streaming:
// local[2], two partitions of state, update mode; one micro-batch after the other, 1,000,000 lines each, whose updates go
// to a sink in the same process.
import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.explode;
import static org.apache.spark.sql.functions.split;

import org.apache.spark.api.java.function.ForeachPartitionFunction;
import org.apache.spark.api.java.function.VoidFunction2;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.streaming.StreamingQuery;
import org.apache.spark.sql.streaming.Trigger;

public final class SparkCount {
  public static void main(String[] arguments) throws Exception {
    SparkSession session = SparkSession.builder().appName("count").master("local[2]")
        .config("spark.sql.shuffle.partitions", 2)
        .config("spark.ui.enabled", false)
        .config("spark.sql.warehouse.dir", arguments[4] + "/warehouse")
        .getOrCreate();
    Dataset<Row> counts = session.readStream().format("kafka")
        .option("kafka.bootstrap.servers", arguments[0]).option("subscribe", arguments[1])
        .option("startingOffsets", "earliest").option("maxOffsetsPerTrigger", 1_000_000)
        .option("kafka.fetch.max.bytes", 64 << 20).option("kafka.max.partition.fetch.bytes", 8 << 20)
        .option("kafka.max.poll.records", 10_000)
        .load()
        .select(explode(split(col("value").cast("string"), " ")).as("word"))
        .groupBy("word").count();
    VoidFunction2<Dataset<Row>, Long> sink = (batch, id) ->
        batch.foreachPartition((ForeachPartitionFunction<Row>) rows ->
            rows.forEachRemaining(row -> Counted.update(row.getString(0), row.getLong(1))));
    StreamingQuery query = counts.writeStream().outputMode("update").trigger(Trigger.ProcessingTime(0))
        .option("checkpointLocation", arguments[4] + "/checkpoint").foreachBatch(sink).start();
    Counted.follow(Long.parseLong(arguments[2]));
    query.stop();
    Counted.write(arguments[3]);
    System.exit(0);
  }
}
