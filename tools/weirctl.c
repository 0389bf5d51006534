/* weirctl: everything but mounting. The table below is the program: a command
 * is added by a line there and a file tools/cmd_NAME.c. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "fs/opts.h"
#include "tools/command.h"

#define HELP_WIDTH 80

static const struct command *const commands[] = {
	&cmd_get,    &cmd_seed,    &cmd_make,    &cmd_info,   &cmd_check,
	&cmd_add,    &cmd_rm,      &cmd_ls,      &cmd_status, &cmd_peers,
	&cmd_lookup, &cmd_getitem, &cmd_putitem, &cmd_dht,
};

static void print_usage(FILE *f)
{
	fputs("usage: weirctl COMMAND [ARGUMENT...]\n\n"
	      "Works with torrents, alone or on a running weirfs mount.\n\n",
	      f);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(f, "  %-8s %s\n", commands[i]->name,
			commands[i]->summary);
	fputs("\n"
	      "weirctl COMMAND --help says more. Exit status: 0 done, "
	      "1 refused or failed,\n"
	      "2 wrong usage, 130 stopped by ^C. See weirctl(1).\n",
	      f);
}

/* Breaks lines between words; "[--data DIR]" is one. */
static void print_synopsis(const struct command *c)
{
	int indent = printf("usage: weirctl %s", c->name), at = indent;

	for (const char *s = c->synopsis; *s;) {
		int len = (int)(*s == '[' ? strcspn(s, "]") + 1 : 0);

		len += (int)strcspn(s + len, " ");
		if (at + 1 + len > HELP_WIDTH) {
			printf("\n%*s", indent, "");
			at = indent;
		}
		at += printf(" %.*s", len, s);
		s += len;
		s += strspn(s, " ");
	}
	putchar('\n');
}

static void print_help(const struct command *c)
{
	print_synopsis(c);
	printf("\n%s.\n", c->summary);
	if (*c->options)
		printf("\n%s", c->options);
	if (c->has_o) {
		puts("");
		opts_print_help(stdout, false);
	}
}

int command_usage(const struct command *c, const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "weirctl %s: ", c->name);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fprintf(stderr, "; try weirctl %s --help\n", c->name);
	return EXIT_USAGE;
}

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	}
	return NULL;
}

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	const struct command *c;

	log_start("weirctl", LOG_LEVEL_WARN);
	if (argc < 2) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		print_usage(stdout);
		return EXIT_OK;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("weirctl %s\n", WEIRFS_VERSION);
		return EXIT_OK;
	}
	if (!strcmp(argv[1], "--commands")) { /* for completion */
		for (size_t i = 0; i < ARRAY_LEN(commands); i++)
			puts(commands[i]->name);
		return EXIT_OK;
	}
	c = find(argv[1]);
	if (!c) {
		fprintf(stderr, "weirctl: no command %s; try weirctl --help\n",
			argv[1]);
		return EXIT_USAGE;
	}
	if (asks_for_help(argc - 1, argv + 1)) {
		print_help(c);
		return EXIT_OK;
	}
	optind = 1;
	return c->run(argc - 1, argv + 1);
}
