/* Counts words: reads every file below the directories given as arguments (default
   /inputs) and writes /outputs/counts.csv, the most frequent word first.

   A word is a run of ASCII letters and bytes beyond ASCII; capitals count as small letters.
   See README.md for how it is built and run.
*/
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define WORD_BYTES_MAX 64
#define PATH_BYTES_MAX 1024

struct entry {
  char *word;
  uint64_t count;
};

static struct entry *table;
static size_t slots, used;
static uint64_t words, files;

static void die(const char *what) {
  fprintf(stderr, "wordcount: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void *reserve(size_t count, size_t size) {
  void *memory = calloc(count, size);
  if (!memory) die("memory");
  return memory;
}

/* The slot of this word: its own, or the empty one where it belongs. */
static struct entry *find(struct entry *in, size_t size, const char *word) {
  uint64_t hash = 1469598103934665603u; /* FNV-1a */
  for (const char *c = word; *c; c++) hash = (hash ^ (unsigned char)*c) * 1099511628211u;
  size_t slot = hash & (size - 1);
  while (in[slot].word && strcmp(in[slot].word, word)) slot = (slot + 1) & (size - 1);
  return &in[slot];
}

static void grow(void) {
  size_t size = slots ? slots * 2 : 4096;
  struct entry *larger = reserve(size, sizeof *larger);
  for (size_t i = 0; i < slots; i++)
    if (table[i].word) *find(larger, size, table[i].word) = table[i];
  free(table);
  table = larger;
  slots = size;
}

static void count(const char *word) {
  if (2 * used >= slots) grow();
  struct entry *entry = find(table, slots, word);
  if (!entry->word) {
    entry->word = strdup(word);
    if (!entry->word) die("memory");
    used++;
  }
  entry->count++;
  words++;
}

static void read_file(const char *path) {
  char word[WORD_BYTES_MAX + 1];
  size_t length = 0;
  FILE *file = fopen(path, "rb");
  if (!file) die(path);
  for (;;) {
    int c = getc(file);
    if (c != EOF && (isalpha(c) || c >= 0x80)) {
      if (length < WORD_BYTES_MAX) word[length++] = (char)(c < 0x80 ? tolower(c) : c);
      continue;
    }
    if (length) {
      word[length] = 0;
      count(word);
      length = 0;
    }
    if (c == EOF) break;
  }
  if (ferror(file)) die(path);
  fclose(file);
  files++;
}

static void walk(const char *path) {
  struct stat stat_;
  if (stat(path, &stat_)) die(path);
  if (!S_ISDIR(stat_.st_mode)) {
    read_file(path);
    return;
  }
  DIR *directory = opendir(path);
  if (!directory) die(path);
  for (struct dirent *entry; (entry = readdir(directory));) {
    char below[PATH_BYTES_MAX];
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    if (snprintf(below, sizeof below, "%s/%s", path, entry->d_name) >= PATH_BYTES_MAX) {
      errno = ENAMETOOLONG;
      die(path);
    }
    walk(below);
  }
  closedir(directory);
}

static int by_count(const void *a, const void *b) {
  const struct entry *one = a, *other = b;
  if (one->count != other->count) return one->count < other->count ? 1 : -1;
  return strcmp(one->word, other->word);
}

int main(int argc, char **argv) {
  grow();
  if (argc < 2) walk("/inputs");
  for (int i = 1; i < argc; i++) walk(argv[i]);
  struct entry *sorted = reserve(used ? used : 1, sizeof *sorted);
  size_t next = 0;
  for (size_t i = 0; i < slots; i++)
    if (table[i].word) sorted[next++] = table[i];
  qsort(sorted, used, sizeof *sorted, by_count);
  FILE *out = fopen("/outputs/counts.csv", "w");
  if (!out) die("/outputs/counts.csv");
  fputs("word,count\n", out);
  for (size_t i = 0; i < used; i++) fprintf(out, "%s,%llu\n", sorted[i].word, sorted[i].count);
  if (fclose(out)) die("/outputs/counts.csv");
  printf("%llu words, %zu different, in %llu files\n", words, used, files);
  return 0;
}
