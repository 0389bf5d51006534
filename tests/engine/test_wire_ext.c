/* Goal: extended messages (BEP 10, 9, 21, 54) are written as others write
 * them, read from what others send, and nothing in them can hurt. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/wire.h"

static void check_bytes(struct buf *b, const char *bytes, size_t len)
{
	assert_int_equal(b->len, len);
	assert_memory_equal(b->ptr, bytes, len);
	buf_release(b);
}
#define CHECK_BYTES(b, bytes) check_bytes(b, bytes, sizeof(bytes) - 1)

/* Reads a copy on the heap, so that a sanitizer sees any read beyond it. */
static int read_handshake(const void *bytes, size_t len,
			  struct wire_ext_handshake *out)
{
	uint8_t *copy = mem_dup(bytes, len);
	int r = wire_read_ext_handshake((struct span){ copy, len }, out);

	free(copy);
	return r;
}
#define READ_HANDSHAKE(s, out) read_handshake(s, sizeof(s) - 1, out)

static void test_handshake__golden(void **state)
{
	struct wire_ext_handshake h = {
		.says_metadata = true,
		.id_metadata = WIRE_EXT_METADATA,
		.says_donthave = true,
		.id_donthave = WIRE_EXT_DONTHAVE,
		.metadata_size = 31235,
		.reqq = 2000,
		.port = 6881,
		.has_upload_only = true,
		.upload_only = true,
		.client = "weirfs 0.1",
		.yourip = { .family = 4, .ip = { 1, 2, 3, 4 } },
	};
	struct buf b;

	buf_init(&b, 0);
	wire_add_ext_handshake(&b, &h);
	CHECK_BYTES(&b, "\0\0\0\x86\x14\0d1:md11:lt_donthavei2e11:ut_metadata"
			"i1ee13:metadata_sizei31235e1:pi6881e4:reqqi2000e"
			"11:upload_onlyi1e1:v10:weirfs 0.16:yourip4:\1\2\3\4e");
	memset(&h, 0, sizeof(h));
	wire_add_ext_handshake(&b, &h);
	CHECK_BYTES(&b, "\0\0\0\x09\x14\0d1:mdee");
}

static void test_handshake__comes_back(void **state)
{
	struct wire_ext_handshake h = {
		.says_metadata = true,
		.id_metadata = 1,
		.says_donthave = true,
		.id_donthave = 2,
		.says_pex = true,
		.id_pex = 3,
		.metadata_size = LIMIT_METADATA_BYTES,
		.reqq = 1,
		.port = 65535,
		.has_upload_only = true,
		.client = "weirfs/0.1 \xc3\xbc",
		.yourip = { .family = 6, .ip = { 0x20, 1, [15] = 9 } },
	};
	struct wire_ext_handshake back;
	struct buf b;

	buf_init(&b, 0);
	wire_add_ext_handshake(&b, &h);
	assert_int_equal(read_handshake(b.ptr + 6, b.len - 6, &back), 0);
	assert_true(back.says_metadata && back.says_donthave && back.says_pex);
	assert_int_equal(back.id_metadata, 1);
	assert_int_equal(back.id_donthave, 2);
	assert_int_equal(back.id_pex, 3);
	assert_int_equal(back.metadata_size, LIMIT_METADATA_BYTES);
	assert_int_equal(back.reqq, 1);
	assert_int_equal(back.port, 65535);
	assert_true(back.has_upload_only);
	assert_false(back.upload_only);
	assert_string_equal(back.client, h.client);
	assert_true(addr_eq(&back.yourip, &h.yourip));
	buf_release(&b);
}

static void test_handshake__of_others(void **state)
{
	struct wire_ext_handshake h;

	/* As libtorrent orders its keys, with ones that we do not know. */
	assert_int_equal(
		READ_HANDSHAKE("d12:complete_agoi1e1:md11:lt_donthavei7e10:"
			       "share_modei8e11:upload_onlyi3e12:ut_holepunchi"
			       "4e11:ut_metadatai2e6:ut_pexi1ee13:metadata_"
			       "sizei22464e4:reqqi500e11:upload_onlyi1e1:v17:"
			       "libtorrent/2.0.8.6:yourip4:\x7f\0\0\1e",
			       &h),
		0);
	assert_int_equal(h.id_metadata, 2);
	assert_int_equal(h.id_donthave, 7);
	assert_int_equal(h.id_pex, 1);
	assert_int_equal(h.metadata_size, 22464);
	assert_int_equal(h.reqq, 500);
	assert_true(h.upload_only);
	assert_string_equal(h.client, "libtorrent/2.0.8.");
	assert_int_equal(h.yourip.family, 4);
	assert_int_equal(h.yourip.port, 0);

	/* An id of 0 takes an extension back; the key was there. */
	assert_int_equal(READ_HANDSHAKE("d1:md11:ut_metadatai0eee", &h), 0);
	assert_true(h.says_metadata);
	assert_int_equal(h.id_metadata, 0);
	assert_false(h.says_pex);

	/* Only news: no "m" at all; junk behind the dict. */
	assert_int_equal(READ_HANDSHAKE("d11:upload_onlyi0ee!!!", &h), 0);
	assert_true(h.has_upload_only && !h.upload_only);
	assert_int_equal(READ_HANDSHAKE("de", &h), 0);
}

static void test_handshake__absurd_values_count_as_not_told(void **state)
{
	struct wire_ext_handshake h;

	assert_int_equal(
		READ_HANDSHAKE("d1:md11:lt_donthavei-1e11:ut_metadatai256e6:"
			       "ut_pex1:xe13:metadata_sizei31457281e1:pi65536e"
			       "4:reqqi0e11:upload_only3:yes1:vi7e6:yourip5:"
			       "abcdee",
			       &h),
		0);
	assert_false(h.says_metadata || h.says_donthave || h.says_pex);
	assert_int_equal(h.metadata_size, 0);
	assert_int_equal(h.port, 0);
	assert_int_equal(h.reqq, 0);
	assert_false(h.has_upload_only);
	assert_string_equal(h.client, "");
	assert_int_equal(h.yourip.family, 0);

	assert_int_equal(READ_HANDSHAKE("d1:mle13:metadata_sizei-5e1:pi-1e4:"
					"reqqi9223372036854775807ee",
					&h),
			 0);
	assert_int_equal(h.metadata_size, 0);
	assert_int_equal(h.port, 0);
	assert_int_equal(h.reqq, 0);
}

static void test_handshake__client_names_are_cut_and_printable(void **state)
{
	struct wire_ext_handshake h;
	char text[400];
	int n;

	assert_int_equal(READ_HANDSHAKE("d1:v6:a\n\0\x1b[me", &h), 0);
	assert_string_equal(h.client, "a\\x0a\\x00\\x1b[m");
	n = snprintf(text, sizeof(text), "d1:v300:%0300de", 0);
	assert_int_equal(read_handshake(text, (size_t)n, &h), 0);
	assert_int_equal(strlen(h.client), LIMIT_CLIENT_NAME_BYTES);
}

static void test_handshake__refuses_what_is_no_dict(void **state)
{
	static const char *const bads[] = { "",         "x",     "le",
					    "i1e",      "0:",    "d",
					    "d1:",      "d1:ve", "di1e1:xe",
					    "d1:vi01ee" };
	struct wire_ext_handshake h;
	char bomb[40000];

	for (size_t i = 0; i < ARRAY_LEN(bads); i++)
		assert_int_equal(read_handshake(bads[i], strlen(bads[i]), &h),
				 -EPROTO);
	/* Depth, and number of values. */
	memset(bomb, 'l', sizeof(bomb));
	memcpy(bomb, "d1:m", 4);
	memset(bomb + sizeof(bomb) / 2, 'e', sizeof(bomb) / 2);
	assert_int_equal(read_handshake(bomb, sizeof(bomb), &h), -EPROTO);
	for (size_t i = 0; i + 2 < sizeof(bomb); i += 2)
		memcpy(bomb + i, "0:", 2);
	memcpy(bomb, "d1:ml", 5);
	memset(bomb + 5, '0', 1);
	assert_int_equal(read_handshake(bomb, sizeof(bomb), &h), -EPROTO);
}

static void test_handshake__every_prefix_is_refused(void **state)
{
	static const char s[] = "d1:md11:ut_metadatai3ee13:metadata_sizei9e"
				"1:v3:abce";
	struct wire_ext_handshake h;

	for (size_t n = 0; n < sizeof(s) - 1; n++)
		assert_int_equal(read_handshake(s, n, &h), -EPROTO);
	assert_int_equal(read_handshake(s, sizeof(s) - 1, &h), 0);
}

static void test_metadata__golden_and_back(void **state)
{
	struct wire_metadata m = { .type = WIRE_METADATA_REQUEST, .part = 7 };
	struct wire_metadata back;
	struct buf b;

	buf_init(&b, 0);
	wire_add_metadata(&b, 9, &m);
	CHECK_BYTES(&b, "\0\0\0\x1b\x14\x09"
			"d8:msg_typei0e5:piecei7ee");
	m.type = WIRE_METADATA_REJECT;
	wire_add_metadata(&b, 9, &m);
	CHECK_BYTES(&b, "\0\0\0\x1b\x14\x09"
			"d8:msg_typei2e5:piecei7ee");
	m.type = WIRE_METADATA_DATA;
	m.total_size = 7 * LIMIT_BLOCK_BYTES + 3;
	m.data = (struct span){ (const uint8_t *)"abc", 3 };
	wire_add_metadata(&b, 9, &m);
	assert_int_equal(wire_read_metadata(
				 (struct span){ b.ptr + 6, b.len - 6 }, &back),
			 0);
	assert_int_equal(back.type, WIRE_METADATA_DATA);
	assert_int_equal(back.part, 7);
	assert_int_equal(back.total_size, 7 * LIMIT_BLOCK_BYTES + 3);
	assert_int_equal(back.data.len, 3);
	assert_memory_equal(back.data.ptr, "abc", 3);
	CHECK_BYTES(&b, "\0\0\0\x33\x14\x09"
			"d8:msg_typei1e5:piecei7e10:total_sizei114691eeabc");
}

static int read_metadata(const char *s, size_t len)
{
	uint8_t *copy = mem_dup(s, len);
	struct wire_metadata m;
	int r = wire_read_metadata((struct span){ copy, len }, &m);

	free(copy);
	return r;
}

static void test_metadata__refuses(void **state)
{
	static const char *const bads[] = {
		"",
		"de",
		"d8:msg_typei0ee",
		"d8:msg_typei0e5:piecei-1ee",
		"d8:msg_typei0e5:piecei1920ee", /* 30 MiB / 16 KiB */
		"d8:msg_typei0e5:piecei4294967296ee",
		"d8:msg_type1:05:piecei0ee",
		"d8:msg_typei1e5:piecei0eeabc", /* no total_size */
		"d8:msg_typei1e5:piecei0e10:total_sizei0eeabc",
		"d8:msg_typei1e5:piecei0e10:total_sizei31457281eeabc",
		"d8:msg_typei1e5:piecei0e10:total_sizei-1eeabc",
		"d8:msg_typei1e5:piecei0e10:total_sizei3ee", /* no data */
	};
	char big[100 + LIMIT_BLOCK_BYTES];
	int n;

	for (size_t i = 0; i < ARRAY_LEN(bads); i++)
		assert_int_equal(read_metadata(bads[i], strlen(bads[i])),
				 -EPROTO);
	memset(big, 'x', sizeof(big));
	n = snprintf(big, sizeof(big),
		     "d8:msg_typei1e5:piecei0e10:total_sizei99999ee");
	assert_int_equal(read_metadata(big, (size_t)n + LIMIT_BLOCK_BYTES), 0);
	assert_int_equal(read_metadata(big, (size_t)n + LIMIT_BLOCK_BYTES + 1),
			 -EPROTO);
	/* BEP 9: types to come are ignored, not refused. */
	assert_int_equal(read_metadata("d8:msg_typei3e5:piecei0ee", 25),
			 -EOPNOTSUPP);
	assert_int_equal(read_metadata("d8:msg_typei-1e5:piecei0ee", 26),
			 -EOPNOTSUPP);
}

static void test_donthave__golden_and_back(void **state)
{
	uint32_t piece;
	struct buf b;

	buf_init(&b, 0);
	wire_add_donthave(&b, 7, 0x01020304);
	assert_int_equal(
		wire_read_donthave((struct span){ b.ptr + 6, 4 }, &piece), 0);
	assert_int_equal(piece, 0x01020304);
	assert_int_equal(wire_read_donthave((struct span){ b.ptr, 3 }, &piece),
			 -EPROTO);
	assert_int_equal(wire_read_donthave((struct span){ b.ptr, 5 }, &piece),
			 -EPROTO);
	CHECK_BYTES(&b, "\0\0\0\6\x14\7\1\2\3\4");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handshake__golden),
		cmocka_unit_test(test_handshake__comes_back),
		cmocka_unit_test(test_handshake__of_others),
		cmocka_unit_test(
			test_handshake__absurd_values_count_as_not_told),
		cmocka_unit_test(
			test_handshake__client_names_are_cut_and_printable),
		cmocka_unit_test(test_handshake__refuses_what_is_no_dict),
		cmocka_unit_test(test_handshake__every_prefix_is_refused),
		cmocka_unit_test(test_metadata__golden_and_back),
		cmocka_unit_test(test_metadata__refuses),
		cmocka_unit_test(test_donthave__golden_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
