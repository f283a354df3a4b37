# The Kafka broker behind scripts/kafka: its jars, its settings, its process. To be sourced after maven.sh.
#
# DIR/ holds server.properties, port, pid, broker.log and data/. The jars are shared by all directories. A broker that stood
# still for KAFKA_SESSION_MS leads nothing until it is back; one that was killed is let in again only after that time.

KAFKA_VERSION=3.9.1
KAFKA_JARS=$MILLRACE_CACHE/kafka-$KAFKA_VERSION

kafka_fetch() {
  maven_fetch "kafka-$KAFKA_VERSION" "46 MB" "org.apache.kafka:kafka_2.13:$KAFKA_VERSION" org.slf4j:slf4j-reload4j:1.7.36
}

# The process of DIR's broker, if it runs: a pid alone may be somebody else's by now.
kafka_pid() {
  local pid
  [[ -f $1/pid ]] || return 1
  pid=$(<"$1/pid")
  tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "kafka.Kafka $1/server.properties" || return 1
  echo "$pid"
}

kafka_write_settings() {
  local dir=$1 port=$2 controller_port=$3
  cat >"$dir/server.properties" <<TEXT
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/data
auto.create.topics.enable=false
num.partitions=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.hours=-1
log.retention.bytes=-1
log.cleaner.enable=false
num.network.threads=2
num.io.threads=2
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=${KAFKA_SESSION_MS:-3000}
TEXT
  cat >"$dir/log4j.properties" <<TEXT
log4j.rootLogger=WARN, stdout
log4j.logger.kafka.server.KafkaServer=INFO
log4j.logger.kafka.server.BrokerServer=INFO
log4j.appender.stdout=org.apache.log4j.ConsoleAppender
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
log4j.appender.stdout.layout.ConversionPattern=%d{ISO8601} %p %c{1}: %m%n
TEXT
}

# kafka_prepare DIR PORT: settings and a formatted data directory; refuses a port that is in use.
kafka_prepare() {
  local dir=$1 port=$2
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    fail "port $port on 127.0.0.1 is in use by another process; give another one with --port"
  fi
  mkdir -p "$dir/data"
  kafka_write_settings "$dir" "$port" "$(free_port)"
  if [[ ! -f $dir/data/meta.properties ]]; then
    java -Xshare:auto -XX:TieredStopAtLevel=1 -Dlog4j.configuration="file:$dir/log4j.properties" -cp "$KAFKA_JARS/*" \
      kafka.tools.StorageTool format --config "$dir/server.properties" \
      --cluster-id "$(head -c 16 /dev/urandom | base64 | tr '+/' 'ab' | tr -d '=')" \
      >"$dir/format.log" 2>&1 || { cat "$dir/format.log" >&2; fail "formatting $dir/data failed"; }
  fi
  echo "$port" >"$dir/port"
}

# kafka_broker DIR: becomes the broker; its process id stays.
kafka_broker() {
  exec java -Xms256m -Xmx1g -XX:+UseG1GC -Dlog4j.configuration="file:$1/log4j.properties" \
    -cp "$KAFKA_JARS/*" kafka.Kafka "$1/server.properties"
}

kafka_run() {
  local pid
  if pid=$(kafka_pid "$1"); then fail "the broker of $1 already runs as process $pid"; fi
  kafka_prepare "$1" "$2"
  echo "$BASHPID" >"$1/pid"
  kafka_broker "$1" >>"$1/broker.log" 2>&1 </dev/null
}

# kafka_start DIR PORT
kafka_start() {
  local dir=$1 port=$2 pid
  if pid=$(kafka_pid "$dir"); then
    [[ "$(<"$dir/port")" == "$port" ]] || fail "the broker of $dir already runs on port $(<"$dir/port"); stop it first"
  else
    kafka_prepare "$dir" "$port"
    setsid "$MILLRACE_ROOT/scripts/kafka" run --dir "$dir" --port "$port" >>"$dir/broker.log" 2>&1 </dev/null &
    pid=$!
  fi
  kafka_wait "$dir" "$port" "$pid"
}

# Waits until the broker answers, 60 s at most.
kafka_wait() {
  local dir=$1 port=$2 pid=$3
  if "$PYTHON" "$MILLRACE_ROOT/scripts/lib/kafka_admin.py" "127.0.0.1:$port" wait --pid "$pid" --seconds 60; then
    echo "127.0.0.1:$port"
    return 0
  fi
  tail -n 20 "$dir/broker.log" >&2
  fail "the broker of $dir did not come up; its log is $dir/broker.log"
}

# kafka_end DIR SIGNAL
kafka_end() {
  local dir=$1 signal=$2 pid try
  if ! pid=$(kafka_pid "$dir"); then
    rm -f "$dir/pid"
    return 0
  fi
  kill "-$signal" "$pid"
  for ((try = 0; try < 200; ++try)); do
    if ! kafka_pid "$dir" >/dev/null; then
      rm -f "$dir/pid"
      return 0
    fi
    if ((try == 150)); then kill -KILL "$pid" 2>/dev/null || true; fi
    sleep 0.1
  done
  fail "process $pid does not end"
}

kafka_status() {
  kafka_admin "$2" wait --seconds 3 && echo "127.0.0.1:$2"
}

kafka_admin() {
  local port=$1
  shift
  if ! "$PYTHON" -c 'import kafka' 2>/dev/null; then install_packages packages-kafka; fi
  "$PYTHON" "$MILLRACE_ROOT/scripts/lib/kafka_admin.py" "127.0.0.1:$port" "$@"
}
