// FlinkCount BROKERS TOPIC WORDS COUNTS-FILE STATE-DIRECTORY: counts the words of a topic with Flink's DataStream:
// parallelism 2 in one process, object reuse, state on the heap, a checkpoint each second. Every update goes to a sink that
// drops it; the counts for the check are told by timers at the end of the bounded source, which cost nothing before.
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.util.Collector;

public final class FlinkCount {
  static final class Count extends KeyedProcessFunction<String, Tuple2<String, Integer>, Tuple2<String, Long>> {
    private transient ValueState<Long> count;
    private transient long notTold;

    @Override
    public void open(OpenContext context) {
      count = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Types.LONG));
    }

    @Override
    public void processElement(Tuple2<String, Integer> word, Context context, Collector<Tuple2<String, Long>> out)
        throws Exception {
      Long before = count.value();
      if (before == null) context.timerService().registerEventTimeTimer(Long.MAX_VALUE);
      long now = (before == null ? 0 : before) + word.f1;
      count.update(now);
      out.collect(Tuple2.of(word.f0, now));
      if (++notTold == 1000) {
        Counted.more(notTold);
        notTold = 0;
      }
    }

    @Override
    public void onTimer(long time, OnTimerContext context, Collector<Tuple2<String, Long>> out) throws Exception {
      Counted.fix(context.getCurrentKey(), count.value());
    }

    @Override
    public void close() {
      Counted.more(notTold);
    }
  }

  public static void main(String[] arguments) throws Exception {
    Configuration settings = new Configuration();
    settings.setString("restart-strategy.type", "none");
    settings.setString("taskmanager.memory.network.min", "256m");
    settings.setString("taskmanager.memory.network.max", "256m");
    StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(2, settings);
    environment.getConfig().enableObjectReuse();
    environment.enableCheckpointing(1000);
    environment.getCheckpointConfig().setCheckpointStorage("file://" + arguments[4]);

    Properties fetch = new Properties();
    fetch.put("fetch.max.bytes", Integer.toString(64 << 20));
    fetch.put("max.partition.fetch.bytes", Integer.toString(8 << 20));
    fetch.put("max.poll.records", "10000");
    KafkaSource<String> source = KafkaSource.<String>builder()
        .setBootstrapServers(arguments[0]).setTopics(arguments[1]).setProperties(fetch)
        .setStartingOffsets(OffsetsInitializer.earliest()).setBounded(OffsetsInitializer.latest())
        .setValueOnlyDeserializer(new SimpleStringSchema()).build();
    environment.fromSource(source, WatermarkStrategy.noWatermarks(), "lines")
        .flatMap((String line, Collector<Tuple2<String, Integer>> out) -> {
          for (String word : line.split(" ")) out.collect(Tuple2.of(word, 1));
        })
        .returns(Types.TUPLE(Types.STRING, Types.INT))
        .keyBy(word -> word.f0, Types.STRING)
        .process(new Count())
        .returns(Types.TUPLE(Types.STRING, Types.LONG))
        .sinkTo(new DiscardingSink<>());

    Thread job = new Thread(() -> {
      try {
        environment.execute("count");
      } catch (Exception problem) {
        problem.printStackTrace();
        System.exit(1);
      }
    });
    job.start();
    Counted.follow(Long.parseLong(arguments[2]));
    job.join();
    Counted.write(arguments[3]);
    System.exit(0);
  }
}
