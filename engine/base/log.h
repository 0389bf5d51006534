/* engine/base/log.h: one printer for the whole process, to stderr or syslog.
 * This is the one file-scope state of the project. Any thread.
 *
 * error: a person must act.  warn: we coped.  info: state changes.
 * debug: decisions.  trace: bytes.
 * Style: key=value, lower case, short infohash, no full stop. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_TRACE,
};

void log_start(const char *program, enum log_level level);
void log_to_syslog(void); /* once stderr is gone */
void log_set_level(enum log_level level);
bool log_is_on(enum log_level level);
void log_print(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#define log_error(...) log_print(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_print(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_print(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                         \
	(log_is_on(LOG_LEVEL_DEBUG) ? log_print(LOG_LEVEL_DEBUG, __VA_ARGS__)  \
				    : (void)0)
#define log_trace(...)                                                         \
	(log_is_on(LOG_LEVEL_TRACE) ? log_print(LOG_LEVEL_TRACE, __VA_ARGS__)  \
				    : (void)0)

/* Makes foreign bytes printable: control characters, DEL, quotes, backslash
 * and invalid UTF-8 become \xNN. Always ends with NUL, cuts what does not fit;
 * returns OUT, so that it can stand in an argument list. */
const char *log_vis(const void *bytes, size_t len, char *out, size_t size);

/* One line per key and second: true when this one may be printed. For news
 * that peers can cause at will. Loop thread only; state is the caller's. */
struct log_limit {
	int64_t next_ms;
};
bool log_limit_ok(struct log_limit *limit, int64_t now_ms);
