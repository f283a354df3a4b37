# Jars from Maven Central, for programs of Java that tests and bench run. To be sourced after install.sh.

# maven_fetch NAME SIZE GROUP:ARTIFACT:VERSION[:alone]...: the jars and all that they need (alone: without that) in
# $MILLRACE_CACHE/NAME, whole or not at all. SIZE is told to whoever waits.
maven_fetch() {
  local name=$1 size=$2 jars=$MILLRACE_CACHE/$1
  shift 2
  install_packages packages-kafka
  if [[ -f $jars/complete ]]; then return 0; fi
  mkdir -p "$MILLRACE_CACHE"
  local work log
  work=$(mktemp -d "$MILLRACE_CACHE/fetch.XXXXXX")
  log=$work/maven.log
  maven_write_pom "$work/pom.xml" "$@"
  say "fetching $name from Maven Central ($size)"
  if ! retry 3 5 mvn -B -q -f "$work/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
      -DoutputDirectory="$work/jars" -DincludeScope=runtime >"$log" 2>&1; then
    grep -m 5 ERROR "$log" >&2 || tail -n 5 "$log" >&2
    rm -rf "$work"
    fail "the jars of $name could not be fetched from https://repo.maven.apache.org; check the network (and the proxy in ~/.m2/settings.xml), then call again"
  fi
  touch "$work/jars/complete"
  # Somebody else may have been faster.
  mv -T "$work/jars" "$jars" 2>/dev/null || [[ -f $jars/complete ]] || fail "cannot move the jars to $jars"
  rm -rf "$work"
}

maven_write_pom() {
  local pom=$1 coordinate group artifact version alone
  shift
  {
    echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
    echo '<groupId>millrace</groupId><artifactId>fetch</artifactId><version>1</version><packaging>pom</packaging><dependencies>'
    for coordinate in "$@"; do
      IFS=: read -r group artifact version alone <<<"$coordinate"
      echo "<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version>"
      [[ -z $alone ]] || echo '<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>'
      echo '</dependency>'
    done
    echo '</dependencies></project>'
  } >"$pom"
}
