# The engines that scripts/bench peers measures beside Millrace: their jars. To be sourced after maven.sh.

peers_fetch() {
  install_packages packages-peers
  local log=org.apache.logging.log4j:log4j-slf4j-impl:2.17.1
  maven_fetch kafka-streams-3.9.1 "78 MB" org.apache.kafka:kafka-streams:3.9.1 $log
  maven_fetch flink-1.20.0 "79 MB" org.apache.flink:flink-streaming-java:1.20.0 org.apache.flink:flink-clients:1.20.0 \
    org.apache.flink:flink-connector-base:1.20.0 org.apache.flink:flink-connector-kafka:3.4.0-1.20 $log
  maven_fetch spark-3.5.3 "221 MB" org.apache.spark:spark-sql_2.12:3.5.3 org.apache.spark:spark-sql-kafka-0-10_2.12:3.5.3
}

# What scripts/bench gateway measures beside: a virtual environment in build/bench/fastapi, whole or not at all.
fastapi_fetch() {
  local wanted=$MILLRACE_ROOT/bench/peers/requirements.txt environment=$MILLRACE_ROOT/build/bench/fastapi
  install_packages packages-fastapi
  if cmp -s "$wanted" "$environment/complete"; then return 0; fi
  say "installing FastAPI into build/bench/fastapi"
  rm -rf "$environment"
  mkdir -p "$MILLRACE_ROOT/build/bench"
  "$PYTHON" -m venv "$environment"
  retry 3 5 "$environment/bin/pip" install --quiet --disable-pip-version-check -r "$wanted" ||
    fail "FastAPI could not be installed from PyPI; check the network, then call again"
  cp "$wanted" "$environment/complete"
}
