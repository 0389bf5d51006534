#include "engine/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

static struct {
	char program[32];
	atomic_int level;
	atomic_bool to_syslog;
} log_state = { .program = "weirfs", .level = LOG_LEVEL_INFO };

void log_start(const char *program, enum log_level level)
{
	snprintf(log_state.program, sizeof(log_state.program), "%s", program);
	atomic_store(&log_state.level, level);
}

void log_to_syslog(void)
{
	openlog(log_state.program, LOG_PID, LOG_DAEMON);
	atomic_store(&log_state.to_syslog, true);
}

void log_set_level(enum log_level level)
{
	atomic_store(&log_state.level, level);
}

bool log_is_on(enum log_level level)
{
	return (int)level <=
	       atomic_load_explicit(&log_state.level, memory_order_relaxed);
}

void log_print(enum log_level level, const char *format, ...)
{
	static const int priority[] = { LOG_ERR, LOG_WARNING, LOG_INFO,
					LOG_DEBUG, LOG_DEBUG };
	static const char *const word[] = { "error: ", "warning: ", "",
					    "debug: ", "trace: " };
	char line[1024];
	va_list ap;

	if (!log_is_on(level))
		return;
	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	if (atomic_load(&log_state.to_syslog)) {
		syslog(priority[level], "%s", line);
		return;
	}
	if (log_is_on(LOG_LEVEL_DEBUG)) {
		struct timespec ts;
		struct tm tm;

		clock_gettime(CLOCK_REALTIME, &ts);
		localtime_r(&ts.tv_sec, &tm);
		fprintf(stderr, "%02d:%02d:%02d.%03ld ", tm.tm_hour, tm.tm_min,
			tm.tm_sec, ts.tv_nsec / 1000000);
	}
	fprintf(stderr, "%s: %s%s\n", log_state.program, word[level], line);
}

/* Length of the valid UTF-8 sequence at P, 0 if there is none. */
static size_t utf8_len(const uint8_t *p, size_t left)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	uint32_t c;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4 || n > left)
		return 0;
	c = p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if ((n == 3 && c < 0x800) || (n == 4 && c < 0x10000) || c > 0x10ffff ||
	    (c >= 0xd800 && c < 0xe000) || (c >= 0x80 && c < 0xa0))
		return 0;
	return n;
}

const char *log_vis(const void *bytes, size_t len, char *out, size_t size)
{
	const uint8_t *p = bytes;
	size_t o = 0;

	for (size_t i = 0; i < len;) {
		size_t n = utf8_len(p + i, len - i);

		if (n == 1 && (p[i] < 0x20 || p[i] == 0x7f || p[i] == '\\' ||
			       p[i] == '"'))
			n = 0;
		if (o + (n ? n : 4) >= size)
			break;
		if (n) {
			memcpy(out + o, p + i, n);
			o += n;
			i += n;
		} else {
			o += (size_t)snprintf(out + o, size - o, "\\x%02x",
					      p[i++]);
		}
	}
	if (size)
		out[o] = '\0';
	return out;
}

bool log_limit_ok(struct log_limit *limit, int64_t now_ms)
{
	if (now_ms < limit->next_ms)
		return false;
	limit->next_ms = now_ms + 1000;
	return true;
}
