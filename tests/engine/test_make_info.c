/* Goal: a torrent put together from parts has the infohash that libtorrent
 * gives for the same files, and parts that do not fit are refused with the
 * reason. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hex.h"
#include "engine/base/mem.h"
#include "engine/make_info.h"
#include "engine/merkle.h"

#define PIECE 32768u

/* Byte k of every file is k * 7 mod 256. */
static const struct known_file {
	const char *path;
	uint32_t length;
	bool is_exec;
} tree[] = {
	{ "a", 20000, false },      { "aa/x", 32768, false },
	{ "aa/y/z", 100000, true }, { "aa.b", 0, false },
	{ "b", 5, false },
};

struct rig {
	struct make_options options;
	struct make_info info;
	struct make_info_file files[ARRAY_LEN(tree)];
	uint8_t roots[ARRAY_LEN(tree)][32];
	uint8_t layers[ARRAY_LEN(tree)][4 * 32];
	uint8_t *stream; /* owned; as v1 has it */
	uint8_t *pieces; /* owned */
};

static void hash_file(struct rig *rig, uint32_t i, const uint8_t *bytes)
{
	struct make_info_file *f = &rig->files[i];
	uint8_t leaves[16][32] = { 0 };
	size_t n = 0, per_piece = PIECE / 16384;

	for (size_t at = 0; at < f->length; at += 16384)
		sha256(bytes + at,
		       f->length - at < 16384 ? f->length - at : 16384,
		       leaves[n++]);
	if (!n)
		return;
	merkle_root(leaves[0], n, 0, rig->roots[i]);
	for (size_t p = 0; p * per_piece < n; p++)
		merkle_root(leaves[p * per_piece], per_piece, 0,
			    rig->layers[i] + p * 32);
	f->root = rig->roots[i];
	f->layer = rig->layers[i];
}

/* NUM files of the tree from FIRST on, sorted for KIND. */
static void rig_init(struct rig *rig, enum make_kind kind, size_t first,
		     uint32_t num)
{
	size_t end = 0, pieces;

	memset(rig, 0, sizeof(*rig));
	rig->options.kind = kind;
	rig->info = (struct make_info){
		.name = "name",
		.is_folder = true,
		.files = rig->files,
		.num_files = num,
		.piece_length = PIECE,
		.options = &rig->options,
	};
	rig->stream = mem_alloc(16 * PIECE);
	rig->pieces = mem_alloc(16 * 20);
	for (uint32_t i = 0; i < num; i++) {
		struct make_info_file *f = &rig->files[i];
		const struct known_file *k = &tree[first + i];

		f->path = k->path;
		f->length = k->length;
		f->is_exec = k->is_exec;
		for (size_t b = 0; b < f->length; b++)
			rig->stream[end + b] = (uint8_t)(b * 7);
		hash_file(rig, i, rig->stream + end);
		end += f->length + make_info_pad(kind, num, f->length, PIECE);
	}
	pieces = (end + PIECE - 1) / PIECE;
	for (size_t i = 0; i < pieces; i++)
		sha1(rig->stream + i * PIECE,
		     end - i * PIECE < PIECE ? end - i * PIECE : PIECE,
		     rig->pieces + i * 20);
	rig->info.pieces = rig->pieces;
}

static void rig_release(struct rig *rig)
{
	free(rig->stream);
	free(rig->pieces);
}

static struct metainfo *assemble(const struct rig *rig)
{
	char why[MAKE_WHY_SIZE];
	struct metainfo *mi;
	int r = make_info_check(&rig->info, NULL, why);

	assert_string_equal(why, "");
	assert_int_equal(r, 0);
	r = make_info_assemble(&rig->info, &mi, why);
	assert_string_equal(why, "");
	assert_int_equal(r, 0);
	return mi;
}

static void refused(const struct rig *rig, int want, const char *rule)
{
	char why[MAKE_WHY_SIZE];
	struct metainfo *mi;

	assert_int_equal(make_info_assemble(&rig->info, &mi, why), want);
	if (!strstr(why, rule))
		print_error("\"%s\", not \"%s\"\n", why, rule);
	assert_non_null(strstr(why, rule));
	assert_null(mi);
}

/* What python3-libtorrent 2.0.8 gives, in create_torrent's three forms. */
static void test_infohash__is_libtorrents(void **state)
{
	static const struct {
		enum make_kind kind;
		size_t first;
		uint32_t num;
		bool is_file;
		const char *v1, *v2;
	} known[] = {
		{ MAKE_V1, 0, 1, false,
		  "036ec86a3d26043795b6f5b7821f968f71bbe279", NULL },
		{ MAKE_V1, 0, 1, true,
		  "bba1e180808a1fb225acd29ca230fa2e8515396c", NULL },
		{ MAKE_V1, 2, 1, true,
		  "2761aa93e649441118b40e5a3983a5832cd88449", NULL },
		{ MAKE_V1, 1, 2, false,
		  "855cd290324c54a616cfdc1702946425336fe7b3", NULL },
		{ MAKE_V1, 3, 2, false,
		  "9f124ebbe7a3c188484abe8b1c195efd9d38cd7e", NULL },
		{ MAKE_V2, 0, 5, false, NULL,
		  "3de6ed8a788ef483fabf14b03c8ad9b4"
		  "62115b831e2c475ecdd6593e12ac2865" },
		{ MAKE_V2, 0, 1, false, NULL,
		  "74a8fc90806507403c551b8af60c2d75"
		  "add21e8e75cdc6fbf3f75d941342adaf" },
		{ MAKE_V2, 0, 1, true, NULL,
		  "e0c6b21c1787d65167e40864c0cb284a"
		  "6ff097990af30da7b105da60841a7938" },
		{ MAKE_V2, 2, 1, true, NULL,
		  "58c4e3a1f2c419b6cf840a192f0412e2"
		  "69559817e4008c6b2972629b4174ba54" },
		{ MAKE_V2, 1, 2, false, NULL,
		  "a51be1a2d00e8f0d596672b49f143e38"
		  "9d68da661a01b74cf232328f8af89a6c" },
		{ MAKE_V2, 3, 2, false, NULL,
		  "eef123e3031cad9631924678c01ba2b8"
		  "9e85977f132aa24b962d60fb63b57d64" },
		{ MAKE_HYBRID, 0, 5, false,
		  "84ac0b7cb68577b7705892b22d8bb0a37d76f84a",
		  "efe920d36ec28cc33c36cf88a37fc648"
		  "41dd22cdf2f4082e61359e060dfe486b" },
		{ MAKE_HYBRID, 0, 1, false,
		  "e0e7250e07a25be7a9b8d554f5a8218592810c80",
		  "d22eb330904135d5cb94ebd396d51c26"
		  "d39670e4d6cdb05278a0cc676ca98a20" },
		{ MAKE_HYBRID, 0, 1, true,
		  "0d0c79bc198183cc7aed41c459d97c07c995e11b",
		  "d65246d616b516046fc72f3145ceb83c"
		  "e58dac614c4447e1fa9928feef7171ea" },
		{ MAKE_HYBRID, 2, 1, true,
		  "666e7d7d709c6bcd16efdcbce59a54709cecfa41",
		  "90cea85bea4b8e25762271d6ffff5f8f"
		  "230e1adfd3abfc3a99936ef8d2626acd" },
		{ MAKE_HYBRID, 1, 2, false,
		  "bf4e0ad7c90145c47b0f57ec9f05032e78ac5eaf",
		  "ab36193c8b27f79d8e9cfeeabfc1ab3f"
		  "2189c50a207ab29320b8fe88b40c24fa" },
		{ MAKE_HYBRID, 3, 2, false,
		  "a7d3901c47a93c65afe0c412e798c695289006ce",
		  "f0797d5f07fa726e6e02b147fa30f360"
		  "160b1bbc96ab9e94efcb562cc515d26f" },
	};
	char hex[65];

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		struct metainfo *mi;
		struct rig rig;

		rig_init(&rig, known[i].kind, known[i].first, known[i].num);
		rig.info.is_folder = !known[i].is_file;
		mi = assemble(&rig);
		if (known[i].v1)
			assert_string_equal(hex_encode(mi->infohash.b, 20, hex),
					    known[i].v1);
		if (known[i].v2)
			assert_string_equal(
				hex_encode(mi->infohash2.b, 32, hex),
				known[i].v2);
		metainfo_free(mi);
		rig_release(&rig);
	}
}

static void test_compare__orders_paths(void **state)
{
	static const char *const v1[] = { "A",   "a",  "a b", "a-b",     "a.b",
					  "a/x", "a0", "b",   "\xc3\xa4" };
	static const char *const v2[] = { "A",   "a",  "a/x", "a b",     "a-b",
					  "a.b", "a0", "b",   "\xc3\xa4" };

	for (size_t i = 0; i < ARRAY_LEN(v1); i++)
		for (size_t j = 0; j < ARRAY_LEN(v1); j++) {
			int want = (i > j) - (i < j);
			int c1 = make_info_compare(MAKE_V1, v1[i], v1[j]);
			int c2 = make_info_compare(MAKE_V2, v2[i], v2[j]);
			int c3 = make_info_compare(MAKE_HYBRID, v2[i], v2[j]);

			assert_int_equal((c1 > 0) - (c1 < 0), want);
			assert_int_equal((c2 > 0) - (c2 < 0), want);
			assert_int_equal((c3 > 0) - (c3 < 0), want);
		}
}

static void test_pad__only_of_hybrids_with_several_files(void **state)
{
	assert_int_equal(make_info_pad(MAKE_HYBRID, 2, 1, PIECE), PIECE - 1);
	assert_int_equal(make_info_pad(MAKE_HYBRID, 2, PIECE + 1, PIECE),
			 PIECE - 1);
	assert_int_equal(make_info_pad(MAKE_HYBRID, 2, 0, PIECE), 0);
	assert_int_equal(make_info_pad(MAKE_HYBRID, 2, 2 * PIECE, PIECE), 0);
	assert_int_equal(make_info_pad(MAKE_HYBRID, 1, 1, PIECE), 0);
	assert_int_equal(make_info_pad(MAKE_V1, 2, 1, PIECE), 0);
	assert_int_equal(make_info_pad(MAKE_V2, 2, 1, PIECE), 0);
}

static void test_refused__parts_that_do_not_fit(void **state)
{
	struct rig rig;

	rig_init(&rig, MAKE_HYBRID, 0, 5);
	rig.layers[2][40] ^= 1;
	refused(&rig, -EBADMSG, "does not hash to its file's");
	rig.layers[2][40] ^= 1;
	rig.roots[2][0] ^= 1;
	refused(&rig, -EBADMSG, "does not hash to its file's");
	rig.roots[2][0] ^= 1;
	metainfo_free(assemble(&rig));
	rig.files[0].path = "aa/y";
	refused(&rig, -EINVAL, "out of order");
	rig.files[0].path = "aa/x";
	refused(&rig, -EINVAL, "out of order");
	rig.files[0].path = "a//b";
	refused(&rig, -EBADMSG, "no valid torrent");
	rig_release(&rig);
}

static void test_refused__sizes(void **state)
{
	struct rig rig;
	char why[MAKE_WHY_SIZE];

	rig_init(&rig, MAKE_V2, 0, 1);
	rig.files[0].length = 0;
	assert_int_equal(make_info_check(&rig.info, NULL, why), -EBADMSG);
	rig.files[0].length = UINT64_MAX;
	assert_int_equal(make_info_check(&rig.info, NULL, why), -E2BIG);
	rig.info.piece_length = LIMIT_PIECE_LENGTH;
	rig.files[0].length = LIMIT_TORRENT_BYTES + 1;
	assert_int_equal(make_info_check(&rig.info, NULL, why), -E2BIG);
	/* 2^21 pieces: allowed, but 40 MiB are no info dict for a magnet, and
	 * a layer of 64 MiB beside them no .torrent */
	rig.info.piece_length = MAKE_PIECE_LENGTH_MIN;
	rig.files[0].length = (uint64_t)MAKE_PIECE_LENGTH_MIN << 21;
	assert_int_equal(make_info_check(&rig.info, NULL, why), 0);
	rig.options.kind = MAKE_V1;
	assert_int_equal(make_info_check(&rig.info, NULL, why), -E2BIG);
	assert_non_null(strstr(why, "the piece length must be larger"));
	rig.files[0].length++;
	assert_int_equal(make_info_check(&rig.info, NULL, why), -E2BIG);
	assert_non_null(strstr(why, "more than 2097152 pieces"));
	rig_release(&rig);
}

static void test_source_and_private__are_part_of_the_infohash(void **state)
{
	struct infohash plain;
	struct metainfo *mi;
	struct rig rig;

	rig_init(&rig, MAKE_HYBRID, 0, 5);
	mi = assemble(&rig);
	plain = mi->infohash;
	metainfo_free(mi);
	rig.options.source = "site";
	rig.options.is_private = true;
	mi = assemble(&rig);
	assert_true(mi->is_private);
	assert_non_null(memmem(mi->info.ptr, mi->info.len,
			       "7:privatei1e6:source4:sitee", 27));
	assert_false(infohash_eq(&mi->infohash, &plain));
	metainfo_free(mi);
	rig_release(&rig);
}

static bool holds(const struct metainfo *mi, const char *text)
{
	return memmem(mi->raw, mi->raw_len, text, strlen(text));
}

static void test_kenosis__names_the_infohash(void **state)
{
	static const char *const more[] = { "http://192.0.2.1:6969/announce",
					    "udp://192.0.2.1:6969/announce" };
	static const unsigned tiers[] = { 0, 0 };
	char key[41], *want;
	struct metainfo *mi;
	struct rig rig;

	for (enum make_kind kind = MAKE_V1; kind <= MAKE_HYBRID; kind++) {
		rig_init(&rig, MAKE_HYBRID, 0, 1);
		rig.options.kind = kind;
		rig.options.kenosis = "KenosisP2P.org";
		rig.options.trackers = more;
		rig.options.tiers = tiers;
		rig.options.num_trackers = 2;
		mi = assemble(&rig);
		hex_encode(mi->infohash.b, 20, key);
		assert_int_equal(mi->num_trackers, 8);
		want = mem_printf("d8:announce79:http://%s.bt.kenosisp2p.org:"
				  "6969/announce13:announce-list",
				  key);
		assert_memory_equal(mi->raw, want, strlen(want));
		free(want);
		want = mem_printf("udp://%s--r2.bt.kenosisp2p.org:6969/"
				  "announce",
				  key);
		assert_string_equal(mi->trackers[5], want);
		free(want);
		for (size_t i = 0; i < 8; i++) {
			static const unsigned in[] = { 0, 1, 2, 2, 3, 3, 4, 4 };

			assert_int_equal(mi->tier_of[i], in[i]);
		}
		assert_string_equal(mi->trackers[7], more[1]);
		metainfo_free(mi);
		rig_release(&rig);
	}
}

static void test_kenosis__domains(void **state)
{
	static const char *const bad[] = {
		"",        "a b.org",     "http://a.org",
		"a.org/x", ".org",        "a..org",
		"a.org.",  "a.org:0",     "a.org:99999",
		"[::1]",   "\xc3\xa4.org"
	};
	struct metainfo *mi;
	struct rig rig;

	rig_init(&rig, MAKE_V1, 0, 1);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		rig.options.kenosis = bad[i];
		refused(&rig, -EINVAL, "must be DOMAIN or DOMAIN:PORT");
	}
	rig.options.kenosis = "local:1234";
	mi = assemble(&rig);
	assert_true(holds(mi, ".bt.local:1234/announce"));
	metainfo_free(mi);
	rig_release(&rig);
}

static void test_nodes__as_bep_5_has_them(void **state)
{
	static const char *const nodes[] = { "router.example:6881",
					     "[2001:db8::1]:1" };
	static const char *const bad[] = { "router.example", ":1", "a:0", "" };
	struct metainfo *mi;
	struct rig rig;

	rig_init(&rig, MAKE_HYBRID, 0, 1);
	rig.options.nodes = nodes;
	rig.options.num_nodes = 2;
	mi = assemble(&rig);
	assert_true(holds(mi, "5:nodesll14:router.examplei6881ee"
			      "l11:2001:db8::1i1eee12:piece layers"));
	metainfo_free(mi);
	rig.options.num_nodes = 1;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		rig.options.nodes = &bad[i];
		refused(&rig, -EINVAL, "is HOST:PORT");
	}
	rig_release(&rig);
}

static void test_tiers__must_not_fall(void **state)
{
	static const char *const urls[] = { "http://a/", "http://b/",
					    "http://c/" };
	static const unsigned good[] = { 0, 0, 1 }, bad[] = { 0, 1, 0 };
	struct metainfo *mi;
	struct rig rig;

	rig_init(&rig, MAKE_V1, 0, 1);
	rig.options.trackers = urls;
	rig.options.num_trackers = 3;
	rig.options.tiers = good;
	mi = assemble(&rig);
	assert_true(holds(mi, "13:announce-listll9:http://a/9:http://b/el9:"
			      "http://c/ee"));
	metainfo_free(mi);
	rig.options.tiers = bad;
	refused(&rig, -EINVAL, "its tier is before");
	rig_release(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_infohash__is_libtorrents),
		cmocka_unit_test(test_compare__orders_paths),
		cmocka_unit_test(test_pad__only_of_hybrids_with_several_files),
		cmocka_unit_test(test_refused__parts_that_do_not_fit),
		cmocka_unit_test(test_refused__sizes),
		cmocka_unit_test(
			test_source_and_private__are_part_of_the_infohash),
		cmocka_unit_test(test_kenosis__names_the_infohash),
		cmocka_unit_test(test_kenosis__domains),
		cmocka_unit_test(test_nodes__as_bep_5_has_them),
		cmocka_unit_test(test_tiers__must_not_fall),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
