/* What the tests of the wasm engine do inside: `tool COMMAND [ARG...]`.

   Built with Debian 12's clang 14, lld, wasi-libc and libclang-rt-14-dev-wasm32:
   clang --target=wasm32-wasi -Os -s -o tool.wasm tool.c
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static int fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  return 1;
}

static int copy(const char *source, const char *target) {
  char buffer[65536];
  FILE *in = fopen(source, "rb");
  if (!in) return fail(source);
  FILE *out = fopen(target, "wb");
  if (!out) return fail(target);
  size_t count;
  while ((count = fread(buffer, 1, sizeof buffer, in)) > 0)
    if (fwrite(buffer, 1, count, out) != count) return fail(target);
  if (fclose(out)) return fail(target);
  return 0;
}

static int list(const char *path) {
  DIR *directory = opendir(path);
  if (!directory) return fail(path);
  for (struct dirent *entry; (entry = readdir(directory));)
    if (entry->d_name[0] != '.') puts(entry->d_name);
  closedir(directory);
  return 0;
}

/* Write `megabytes` to a file, or for ever when that is 0. */
static int fill(const char *path, int megabytes) {
  static char block[1 << 20];
  int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (file < 0) return fail(path);
  for (int i = 0; !megabytes || i < megabytes; i++)
    if (write(file, block, sizeof block) < 0) return fail(path);
  return 0;
}

/* Take `megabytes` of memory, touch them, and say how far it came. */
static int take(int megabytes) {
  static char *volatile last; /* or the compiler takes nothing */
  for (int i = 0; i < megabytes; i++) {
    char *block = malloc(1 << 20);
    if (!block) {
      fprintf(stderr, "no memory after %d MB\n", i);
      return 1;
    }
    memset(block, 1, 1 << 20);
    last = block;
  }
  printf("took %d MB\n", megabytes);
  return 0;
}

int main(int argc, char **argv) {
  const char *command = argc > 1 ? argv[1] : "";
  const char *first = argc > 2 ? argv[2] : "";
  const char *second = argc > 3 ? argv[3] : "";
  setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
  if (!strcmp(command, "exit")) exit(atoi(first));
  if (!strcmp(command, "copy")) return copy(first, second);
  if (!strcmp(command, "ls")) return list(first);
  if (!strcmp(command, "fill")) return fill(first, atoi(second));
  if (!strcmp(command, "take")) return take(atoi(first));
  if (!strcmp(command, "mkdir")) return mkdir(first, 0755) ? fail(first) : 0;
  if (!strcmp(command, "rm")) return unlink(first) ? fail(first) : 0;
  if (!strcmp(command, "mv")) return rename(first, second) ? fail(first) : 0;
  if (!strcmp(command, "ln")) return link(first, second) ? fail(first) : 0;
  if (!strcmp(command, "symlink")) return symlink(first, second) ? fail(second) : 0;
  if (!strcmp(command, "truncate")) return truncate(first, 0) ? fail(first) : 0;
  if (!strcmp(command, "touch")) return utimensat(AT_FDCWD, first, NULL, 0) ? fail(first) : 0;
  if (!strcmp(command, "sleep")) return sleep(atoi(first));
  if (!strcmp(command, "abort")) abort();
  if (!strcmp(command, "print")) {
    fputs(first, stdout);
    fputs(second, stderr);
    return 0;
  }
  if (!strcmp(command, "loop")) {
    puts("started");
    for (volatile int i = 0;; i++) {
    }
  }
  if (!strcmp(command, "args")) {
    for (int i = 0; i < argc; i++) printf("[%s]\n", argv[i]);
    return 0;
  }
  if (!strcmp(command, "env")) {
    if (!*first) {
      for (char **pair = environ; *pair; pair++) puts(*pair);
      return 0;
    }
    const char *value = getenv(first);
    if (!value) return 1;
    puts(value);
    return 0;
  }
  if (!strcmp(command, "flood")) {
    for (;;) puts("all work and no play makes a very long log");
  }
  fprintf(stderr, "no command '%s'\n", command);
  return 2;
}
