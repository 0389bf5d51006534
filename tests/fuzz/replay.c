/* Goal: every input that was ever interesting stays harmless.
 *
 * Stands in for libFuzzer in builds without it: feeds each file of the folders
 * given, and while it is small each of its prefixes, to the target. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"

#define PREFIX_MAX 1024 /* bytes; each prefix is a whole run of the target */

/* A copy of the exact size, so that sanitizers see every over-read. */
static void feed(const uint8_t *bytes, size_t len)
{
	uint8_t *copy = mem_dup(bytes, len);

	(void)LLVMFuzzerTestOneInput(copy, len); /* always 0 */
	free(copy);
}

static bool read_file(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "re");
	uint8_t *room;
	size_t n = 0;

	if (!f)
		return false;
	do {
		room = buf_reserve(out, 4096);
		if (!room)
			break;
		n = fread(room, 1, 4096, f);
		out->len += n;
	} while (n);
	if (ferror(f))
		out->is_broken = true;
	(void)fclose(f); /* only read from */
	return !out->is_broken;
}

static bool feed_file(const char *path)
{
	struct buf b;
	bool is_read;
	size_t len;

	buf_init(&b, 0);
	is_read = read_file(path, &b);
	if (is_read) {
		for (len = 0; b.len <= PREFIX_MAX && len < b.len; len++)
			feed(b.ptr, len);
		feed(b.ptr, b.len);
	} else {
		fprintf(stderr, "%s: cannot be read\n", path);
	}
	buf_release(&b);
	return is_read;
}

static bool feed_folder(const char *folder, int *fed)
{
	struct dirent **entries;
	bool is_fine = true;
	char *path;
	int i, n;

	n = scandir(folder, &entries, NULL, alphasort);
	if (n < 0) {
		perror(folder);
		return false;
	}
	for (i = 0; i < n; i++) {
		if (entries[i]->d_name[0] != '.') {
			path = mem_printf("%s/%s", folder, entries[i]->d_name);
			printf("%s\n", path);
			fflush(stdout); /* the last line names a crasher */
			is_fine &= feed_file(path);
			free(path);
			++*fed;
		}
		free(entries[i]);
	}
	free(entries);
	return is_fine;
}

int main(int argc, char **argv)
{
	bool is_fine = argc > 1;
	int i, fed = 0;

	for (i = 1; i < argc; i++)
		is_fine &= feed_folder(argv[i], &fed);
	printf("%d inputs\n", fed);
	return is_fine && fed ? 0 : 1;
}
