// What every peer does for scripts/bench: it says how many words it has counted by when, and in the end writes the counts.
import java.io.BufferedWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.LongAdder;

final class Counted {
  private static final Map<String, Long> COUNTS = new ConcurrentHashMap<>(1 << 20);
  private static final LongAdder WORDS = new LongAdder();

  private Counted() {}

  // The engine gave its sink a newer count of a word.
  static void update(String word, long count) {
    Long before = COUNTS.put(word, count);
    WORDS.add(count - (before == null ? 0 : before));
  }

  // So many more words have been counted; their counts come by `fix` in the end.
  static void more(long words) {
    WORDS.add(words);
  }

  static void fix(String word, long count) {
    COUNTS.put(word, count);
  }

  // Prints "MILLISECONDS WORDS" on the wall clock every 50 ms until so many words are counted.
  static void follow(long words) throws InterruptedException {
    while (true) {
      long so_far = WORDS.sum();
      System.out.println(System.currentTimeMillis() + " " + so_far);
      if (so_far >= words) return;
      Thread.sleep(50);
    }
  }

  // WORD TAB COUNT lines.
  static void write(String path) throws Exception {
    try (BufferedWriter out = Files.newBufferedWriter(Path.of(path), StandardCharsets.UTF_8)) {
      for (Map.Entry<String, Long> entry : COUNTS.entrySet()) {
        out.write(entry.getKey() + "\t" + entry.getValue() + "\n");
      }
    }
  }
}
