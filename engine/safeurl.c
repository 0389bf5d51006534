#include "engine/safeurl.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/buf.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

static bool is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Length of "http://" and its like at S, or 0. */
static size_t scheme_len(const uint8_t *s, size_t len, enum safeurl_kind kind)
{
	static const struct {
		const char *text;
		bool is_webseed;
	} schemes[] = { { "http://", true },
			{ "https://", true },
			{ "udp://", false },
			{ "ws://", false },
			{ "wss://", false } };

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		size_t n = strlen(schemes[i].text);

		if (kind == SAFEURL_WEBSEED && !schemes[i].is_webseed)
			continue;
		if (len > n &&
		    !strncasecmp((const char *)s, schemes[i].text, n))
			return n;
	}
	return 0;
}

static void add_escaped(struct buf *out, uint8_t c)
{
	if (c > 0x20 && c < 0x7f && !strchr("\"<>\\^`{|}", c))
		buf_add(out, &c, 1);
	else
		buf_printf(out, "%%%02X", c);
}

char *safeurl_clean(const void *bytes, size_t len, enum safeurl_kind kind)
{
	const uint8_t *s = bytes;
	struct buf out;
	size_t scheme, i;
	char *url = NULL;

	while (len && is_space(*s)) {
		s++;
		len--;
	}
	while (len && is_space(s[len - 1]))
		len--;
	if (len > LIMIT_URL_BYTES)
		return NULL;
	scheme = scheme_len(s, len, kind);
	if (!scheme || strchr("/:?#@", s[scheme]))
		return NULL; /* strchr: a NUL for a host as well */
	buf_init(&out, LIMIT_URL_BYTES);
	for (i = 0; i < len; i++) {
		if (s[i] < 0x20 || s[i] == 0x7f)
			goto out;
		if (i < scheme && s[i] >= 'A' && s[i] <= 'Z')
			add_escaped(&out, (uint8_t)(s[i] + 'a' - 'A'));
		else
			add_escaped(&out, s[i]);
	}
	if (!out.is_broken)
		url = mem_strndup((const char *)out.ptr, out.len);
out:
	buf_release(&out);
	return url;
}

bool safeurl_is_of_use(const char *url)
{
	return strncmp(url, "ws", 2) != 0;
}

bool safeurl_add(char ***urls, size_t *num, size_t max, char *url)
{
	size_t i;

	if (!url || *num >= max)
		goto out;
	for (i = 0; i < *num; i++)
		if (!strcmp((*urls)[i], url))
			goto out;
	*urls = mem_realloc_array(*urls, *num + 1, sizeof(**urls));
	(*urls)[(*num)++] = url;
	return true;
out:
	free(url);
	return false;
}
