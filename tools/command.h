/* tools/command.h: one command of weirctl. Each lives in tools/cmd_NAME.c and
 * is named in the table of tools/weirctl.c, which makes --help, completion and
 * usage errors from it. */
#pragma once

#include <stdbool.h>

/* Exit codes of every command. */
enum exit_code {
	EXIT_OK = 0,
	EXIT_REFUSED = 1,   /* the input is bad, or it could not be done */
	EXIT_USAGE = 2,     /* the command line is wrong */
	EXIT_STOPPED = 130, /* ^C; what is here is saved */
};

struct command {
	const char *name;
	const char *synopsis; /* what follows the name */
	const char *summary;  /* one line, no full stop */
	const char *options;  /* lines of help, "" if none */
	bool has_o;           /* takes -o as the mount does */
	/* ARGV[0] is the command's name; getopt starts afresh. Returns an
	 * exit code. May print usage with command_usage. */
	int (*run)(int argc, char **argv);
};

extern const struct command cmd_check, cmd_get, cmd_info, cmd_make, cmd_seed;
extern const struct command cmd_dht, cmd_getitem, cmd_lookup, cmd_putitem;
extern const struct command cmd_add, cmd_ls, cmd_peers, cmd_rm, cmd_status;

/* "weirctl NAME: ..., try weirctl NAME --help", and EXIT_USAGE. */
int command_usage(const struct command *c, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
