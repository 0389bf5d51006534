/* Goal: v2 and hybrid torrents are taken when their parts agree with each
 * other and with BEP 52, and refused with the rule when they do not. */
#include "tests/engine/torrent_text.h"

#include <errno.h>

#include "engine/base/hex.h"
#include "engine/base/mem.h"
#include "engine/base/sha.h"

#define ROOT "'pieces root':32*'r'"

/* A v2 torrent: file tree TREE, name 'n', pieces of 16 KiB. */
#define V2(tree)                                                               \
	"{info:{'file tree':" tree ",'meta version':2,name:'n','piece "        \
	"length':16384}}"
#define V2_PIECE(piece_length)                                                 \
	"{info:{'file tree':{a:{'':{length:1," ROOT "}}},'meta version':2,"    \
	"name:'n','piece length':" piece_length "}}"
#define HYBRID(tree, files, pieces)                                            \
	"{info:{'file tree':" tree ",files:[" files "],'meta version':2,"      \
	"name:'n','piece length':16384,pieces:" pieces "}}"

static void test_v2_only__fields(void **state)
{
	struct metainfo *mi = accept_text(
		V2("{a:{'':{length:16385," ROOT "}},b:{'':{length:0}},"
		   "c:{d:{'':{attr:'x',length:5," ROOT "}},"
		   "l:{'':{attr:'l',length:0,'symlink path':['a']}}}}"));
	char hex[65], hex20[41];

	assert_false(mi->has_v1);
	assert_true(mi->has_v2);
	assert_true(mi->is_multi);
	hex_encode(mi->infohash2.b, 32, hex);
	hex_encode(mi->infohash.b, 20, hex20);
	assert_memory_equal(hex, hex20, 40);
	assert_paths(mi, "a|b|c/d|c/l");
	assert_null(mi->piece_hashes);
	assert_null(mi->piece_layers.ptr);
	/* a, b, pad, c/d, c/l: files start at pieces, bytes have no holes */
	assert_int_equal(mi->num_files, 5);
	assert_int_equal(mi->files[0].offset, 0);
	assert_true(mi->files[0].has_root);
	assert_memory_equal(mi->files[0].pieces_root, "rrrrrrrr", 8);
	assert_false(mi->files[1].has_root);
	assert_int_equal(mi->files[2].flags, FILE_PAD);
	assert_int_equal(mi->files[2].offset, 16385);
	assert_int_equal(mi->files[2].length, 16383);
	assert_int_equal(mi->files[3].offset, 32768);
	assert_int_equal(mi->files[3].flags, FILE_EXEC);
	assert_string_equal(mi->files[4].symlink, "../a");
	assert_int_equal(mi->layout.total, 32773);
	assert_int_equal(mi->layout.num_pieces, 3);
	assert_int_equal(metainfo_file_at(mi, 16384), 0);
	assert_int_equal(metainfo_file_at(mi, 16385), 2);
	assert_int_equal(metainfo_file_at(mi, 32768), 3);
	metainfo_free(mi);
}

static void test_v2_only__infohash_of_the_raw_bytes(void **state)
{
	struct metainfo *mi = accept_text(V2("{n:{'':{length:1," ROOT "}}}"));
	struct infohash2 want;

	sha256(mi->info.ptr, mi->info.len, want.b);
	assert_true(infohash2_eq(&mi->infohash2, &want));
	metainfo_free(mi);
}

static void test_v2_only__single_file(void **state)
{
	struct metainfo *mi = accept_text(V2("{n:{'':{length:1," ROOT "}}}"));

	assert_false(mi->is_multi);
	assert_paths(mi, "n");
	metainfo_free(mi);
	mi = accept_text(V2("{m:{'':{length:1," ROOT "}}}"));
	assert_true(mi->is_multi);
	assert_paths(mi, "m");
	metainfo_free(mi);
	mi = accept_text(V2("{n:{n:{'':{length:1," ROOT "}}}}"));
	assert_true(mi->is_multi);
	assert_paths(mi, "n/n");
	metainfo_free(mi);
}

static void test_v2_only__names(void **state)
{
	struct metainfo *mi = accept_text(
		"{info:{'file tree':{'..':{x:{'':{length:1," ROOT "}}},"
		"'a/b':{'':{length:1," ROOT "}},ab:{'':{length:1," ROOT "}},"
		"'\x82/estMB':{'':{length:1," ROOT "}}},'meta version':2,"
		"name:'..','piece length':16384}}");
	char hex[65];

	assert_string_equal(mi->name, hex_encode(mi->infohash2.b, 32, hex));
	assert_paths(mi, "x|ab|ab.1|_estMB");
	metainfo_free(mi);
}

static void test_refused__piece_length(void **state)
{
	refuse_text(-EBADMSG, "v2 asks for a power of two", V2_PIECE("32767"));
	refuse_text(-EBADMSG, "v2 asks for a power of two", V2_PIECE("8192"));
	refuse_text(-E2BIG, "must be at most", V2_PIECE("2147483647"));
	refuse_text(-E2BIG, "must be at most", V2_PIECE("1073741824"));
	metainfo_free(accept_text(V2_PIECE("16384")));
	metainfo_free(accept_text(V2_PIECE("536870912")));
}

static void test_refused__file_tree(void **state)
{
	refuse_text(-EBADMSG, "\"file tree\" is missing",
		    "{info:{'meta version':2,name:'n','piece length':16384}}");
	refuse_text(-EBADMSG, "\"file tree\" is missing or not", V2("7"));
	refuse_text(-EBADMSG, "no dictionary", V2("{a:7}"));
	refuse_text(-EBADMSG, "no dictionary", V2("{a:{b:'x'}}"));
	refuse_text(-EBADMSG, "malformed", V2("{a:{'':7}}"));
	refuse_text(-EBADMSG, "malformed",
		    V2("{a:{'':{length:1," ROOT "},b:{}}}"));
	refuse_text(-EBADMSG, "empty file name",
		    V2("{'':{length:1," ROOT "}}"));
	refuse_text(-EBADMSG, "empty file name",
		    V2("{a:{b:{'':{length:1," ROOT "}},'':{length:1}}}"));
	refuse_text(
		-EBADMSG, "not sorted",
		V2("{b:{'':{length:1," ROOT "}},a:{'':{length:1," ROOT "}}}"));
	refuse_text(
		-EBADMSG, "not sorted",
		V2("{a:{'':{length:1," ROOT "}},a:{'':{length:1," ROOT "}}}"));
	refuse_text(-EBADMSG, "no file that is not empty", V2("{}"));
	refuse_text(-EBADMSG, "no file that is not empty",
		    V2("{a:{'':{length:0}}}"));
}

static void test_refused__tree_too_deep(void **state)
{
	struct buf b;

	buf_init(&b, 0);
	for (int i = 0; i < 101; i++)
		buf_add_str(&b, "{d:");
	buf_add_str(&b, "{'':{length:1," ROOT "}}");
	for (int i = 0; i < 101; i++)
		buf_add_str(&b, "}");
	buf_add(&b, "", 1);
	refuse_text(-E2BIG, "levels", V2("%s"), (char *)b.ptr);
	buf_release(&b);
}

static void test_refused__roots(void **state)
{
	refuse_text(-EBADMSG, "no \"pieces root\" of 32 bytes",
		    V2("{a:{'':{length:1}}}"));
	refuse_text(-EBADMSG, "no \"pieces root\" of 32 bytes",
		    V2("{a:{'':{length:1,'pieces root':31*'r'}}}"));
	refuse_text(-EBADMSG, "no \"pieces root\" of 32 bytes",
		    V2("{a:{'':{length:1,'pieces root':7}}}"));
	/* zero_root, zero_root_small */
	refuse_text(-EBADMSG, "of zeros",
		    V2("{a:{'':{length:99999,'pieces root':32*'\\x00'}}}"));
	refuse_text(-EBADMSG, "of zeros",
		    V2("{a:{'':{length:1,'pieces root':32*'\\x00'}}}"));
	/* missing_file_root_invalid_symlink */
	refuse_text(-EBADMSG, "symlink path",
		    V2("{a:{'':{attr:'l',length:1}}}"));
	/* invalid_pad_file */
	refuse_text(-EBADMSG, "is a pad",
		    V2("{a:{'':{attr:'p',length:16384," ROOT "}}}"));
}

static void test_refused__sizes(void **state)
{
	struct buf b;

	refuse_text(-EBADMSG, "length is -1",
		    V2("{a:{'':{length:-1," ROOT "}}}"));
	refuse_text(-EBADMSG, "\"length\" is missing",
		    V2("{a:{'':{" ROOT "}}}"));
	refuse_text(-E2BIG, "must be at most 17592186028032",
		    V2("{a:{'':{length:17592186044416," ROOT "}}}"));
	refuse_text(-E2BIG, "pieces: must be at most",
		    V2("{a:{'':{length:17592186028032," ROOT "}}}"));
	buf_init(&b, 0);
	for (int i = 0; i < 17; i++)
		buf_printf(&b, "%s%c:{'':{length:17592186028032," ROOT "}}",
			   i ? "," : "", 'a' + i);
	buf_add(&b, "", 1);
	refuse_text(-E2BIG, "all files together", V2("{%s}"), (char *)b.ptr);
	buf_release(&b);
}

/* The text of LEN bytes, as \xHH. */
static char *hex_text(const uint8_t *bytes, size_t len)
{
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; i < len; i++)
		buf_printf(&b, "\\x%02x", bytes[i]);
	buf_add(&b, "", 1);
	return (char *)b.ptr;
}

/* A file of 40000 bytes is 3 pieces of 16 KiB: aa + bb, cc + filling. */
static char *root_of_abc(void)
{
	uint8_t leaves[128] = { 0 }, nodes[64], root[32];

	memset(leaves, 'a', 32);
	memset(leaves + 32, 'b', 32);
	memset(leaves + 64, 'c', 32);
	sha256(leaves, 64, nodes);
	sha256(leaves + 64, 64, nodes + 32);
	sha256(nodes, 64, root);
	return hex_text(root, 32);
}

#define LAYERS(length, root, layers)                                           \
	"{info:{'file tree':{f:{'':{length:" length ",'pieces root':'" root    \
	"'}},s:{'':{length:5," ROOT "}}},'meta version':2,name:'n',"           \
	"'piece length':16384},'piece layers':" layers "}"

static const char abc[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			  "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
			  "cccccccccccccccccccccccccccccccc";

static void test_layers__fold_to_the_root(void **state)
{
	char *root = root_of_abc();
	struct metainfo *mi = accept_text(LAYERS("40000", "%s", "{'%s':'%s'}"),
					  root, root, abc);

	assert_non_null(mi->piece_layers.ptr);
	assert_int_equal(mi->piece_layers.len, 2 + 3 + 32 + 3 + 96);
	metainfo_free(mi);
	free(root);
}

static void test_layers__may_be_missing(void **state)
{
	char *root = root_of_abc();
	struct metainfo *mi = accept_text(LAYERS("40000", "%s", "{}"), root);

	metainfo_free(mi);
	mi = accept_text(V2("{a:{'':{length:99999," ROOT "}}}"));
	assert_null(mi->piece_layers.ptr);
	metainfo_free(mi);
	free(root);
}

/* Two files of the same bytes have one root and one layer. */
static void test_layers__are_shared(void **state)
{
	char *root = root_of_abc();
	static const char text[] =
		"{info:{'file tree':{a:{'':{length:40000,'pieces root':'%s'}},"
		"b:{'':{length:%d,'pieces root':'%s'}}},'meta version':2,"
		"name:'n','piece length':16384},'piece layers':{'%s':'%s'}}";

	metainfo_free(accept_text(text, root, 40000, root, root, abc));
	refuse_text(-EBADMSG, "its file has 2 pieces", text, root, 30000, root,
		    root, abc);
	free(root);
}

static void test_refused__layers(void **state)
{
	char *root = root_of_abc();

	refuse_text(-EBADMSG, "\"piece layers\" is not a dictionary",
		    LAYERS("40000", "%s", "7"), root);
	refuse_text(-EBADMSG, "not a string of hashes",
		    LAYERS("40000", "%s", "{'%s':7}"), root, root);
	refuse_text(-EBADMSG, "not a string of hashes",
		    LAYERS("40000", "%s", "{'%s':''}"), root, root);
	/* non_multiple_piece_layer */
	refuse_text(-EBADMSG, "not a string of hashes",
		    LAYERS("40000", "%s", "{'%s':513*'x'}"), root, root);
	/* piece_layer_invalid_file_hash */
	refuse_text(-EBADMSG, "a key of 33 bytes",
		    LAYERS("40000", "%s", "{'%sx':'%s'}"), root, root, abc);
	/* invalid_piece_layer_size */
	refuse_text(-EBADMSG, "has 6 hashes: its file has 3",
		    LAYERS("40000", "%s", "{'%s':'%s%s'}"), root, root, abc,
		    abc);
	/* invalid_piece_layer_root */
	refuse_text(-EBADMSG, "does not hash",
		    LAYERS("40000", "%s", "{'%s':96*'x'}"), root, root);
	/* unknown_piece_layer_entry */
	refuse_text(-EBADMSG, "no file asks for",
		    LAYERS("40000", "%s", "{32*'u':96*'x'}"), root);
	free(root);
}

/* One hash standing in for a layer of a file of one piece is its root. */
static void test_layers__of_a_small_file(void **state)
{
	char *root = root_of_abc();

	metainfo_free(
		accept_text(LAYERS("40000", "%s", "{32*'r':32*'r'}"), root));
	refuse_text(-EBADMSG, "does not hash",
		    LAYERS("40000", "%s", "{32*'r':32*'q'}"), root);
	free(root);
}

static void test_layers__of_larger_pieces(void **state)
{
	/* 2 pieces of 64 KiB: the layer is 2 above the leaves. */
	uint8_t layer[64], root[32];
	char *text;

	memset(layer, 'a', 32);
	memset(layer + 32, 'b', 32);
	sha256(layer, 64, root);
	text = hex_text(root, 32);
	metainfo_free(accept_text(
		"{info:{'file tree':{n:{'':{length:65537,'pieces root':'%s'}}},"
		"'meta version':2,name:'n','piece length':65536},'piece layers'"
		":{'%s':'%.64s'}}",
		text, text, abc));
	free(text);
}

#define TREE                                                                   \
	"{a:{'':{length:5," ROOT "}},b:{c:{'':{length:16384," ROOT "}},"       \
	"d:{'':{length:7," ROOT "}}}}"
#define PAD      "{attr:'p',length:16379,path:['.pad','16379']}"
#define TAIL_PAD "{attr:'p',length:16377,path:['.pad','16377']}"

static void test_hybrid__fields(void **state)
{
	struct metainfo *mi = accept_text(
		HYBRID(TREE,
		       "{length:5,path:['a']}," PAD
		       ",{length:16384,path:['b','c']},{length:7,path:['b','d']"
		       "}",
		       "60*'x'"));

	assert_true(mi->has_v1 && mi->has_v2);
	assert_paths(mi, "a|b/c|b/d");
	assert_true(mi->files[0].has_root && mi->files[3].has_root);
	assert_false(mi->files[1].has_root);
	assert_int_equal(mi->layout.total, 5 + 16379 + 16384 + 7);
	metainfo_free(mi);
}

static void test_hybrid__tail_pad_or_none(void **state)
{
	struct metainfo *mi = accept_text(
		HYBRID(TREE,
		       "{length:5,path:['a']}," PAD
		       ",{length:16384,path:['b','c']},{length:7,path:['b','d']"
		       "}," TAIL_PAD,
		       "60*'x'"));

	assert_int_equal(mi->layout.total, 3 * 16384);
	assert_paths(mi, "a|b/c|b/d");
	metainfo_free(mi);
}

static void test_hybrid__single_file(void **state)
{
	static const char text[] =
		"{info:{'file tree':{%s:{'':{length:5," ROOT "}}},length:%d,"
		"'meta version':2,name:'n','piece length':16384,pieces:"
		"20*'x'}}";
	struct metainfo *mi = accept_text(text, "n", 5);

	assert_false(mi->is_multi);
	assert_true(mi->files[0].has_root);
	metainfo_free(mi);
	refuse_text(-EBADMSG, "list different files", text, "n", 6);
	refuse_text(-EBADMSG, "list different files", text, "m", 5);
}

static void test_hybrid__empty_files_around_pads(void **state)
{
	static const char tree[] =
		"{a:{'':{length:5," ROOT "}},b:{'':{length:0}},c:{'':{length:0"
		"}},d:{'':{length:7," ROOT "}},e:{'':{length:0}}}";
	static const char *const lists[] = {
		"{length:5,path:['a']}," PAD ",{length:0,path:['b']},"
		"{length:0,path:['c']},{length:7,path:['d']},"
		"{length:0,path:['e']}",
		"{length:5,path:['a']},{length:0,path:['b']}," PAD ","
		"{length:0,path:['c']},{length:7,path:['d']},"
		"{length:0,path:['e']}",
		"{length:5,path:['a']},{length:0,path:['b']},"
		"{length:0,path:['c']}," PAD ",{length:7,path:['d']},"
		"{length:0,path:['e']}",
		"{length:5,path:['a']},{length:0,path:['b']},"
		"{length:0,path:['c']}," PAD ",{length:7,path:['d']}," TAIL_PAD
		",{length:0,path:['e']}",
		"{length:5,path:['a']},{length:0,path:['b']},"
		"{length:0,path:['c']}," PAD ",{length:7,path:['d']},"
		"{length:0,path:['e']}," TAIL_PAD,
	};

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		struct metainfo *mi = accept_text(HYBRID("%s", "%s", "40*'x'"),
						  tree, lists[i]);

		assert_paths(mi, "a|b|c|d|e");
		metainfo_free(mi);
	}
}

static void test_hybrid__with_a_symlink(void **state)
{
	struct metainfo *mi = accept_text(
		HYBRID("{a:{'':{length:5," ROOT "}},l:{'':{attr:'l',length:0,"
		       "'symlink path':['a']}}}",
		       "{length:5,path:['a']},{attr:'l',length:0,path:['l'],"
		       "'symlink path':['a']}",
		       "20*'x'"));

	assert_string_equal(mi->files[1].symlink, "a");
	metainfo_free(mi);
}

static void test_hybrid__parts_must_agree(void **state)
{
	/* mismatching_metadata */
	refuse_text(-EBADMSG, "list different files",
		    HYBRID("{a:{'':{length:5," ROOT "}}}",
			   "{length:6,path:['a']}", "20*'x'"));
	refuse_text(-EBADMSG, "list different files",
		    HYBRID("{a:{'':{length:5," ROOT "}}}",
			   "{length:5,path:['b']}", "20*'x'"));
	refuse_text(-EBADMSG, "different numbers of files",
		    HYBRID("{a:{'':{length:5," ROOT "}}}",
			   "{length:5,path:['a']},{length:0,path:['b']}",
			   "20*'x'"));
	refuse_text(-EBADMSG, "different numbers of files",
		    HYBRID("{a:{'':{length:5," ROOT "}},b:{'':{length:0}}}",
			   "{length:5,path:['a']}", "20*'x'"));
	/* the same safe name of different raw ones */
	refuse_text(-EBADMSG, "list different files",
		    HYBRID("{'a/':{'':{length:5," ROOT "}}}",
			   "{length:5,path:['a']}", "20*'x'"));
	refuse_text(-EBADMSG, "list different files",
		    HYBRID("{'a/b':{'':{length:5," ROOT "}}}",
			   "{length:5,path:['a','b']}", "20*'x'"));
	/* a link in one, a file in the other */
	refuse_text(-EBADMSG, "list different files",
		    HYBRID("{a:{'':{length:5," ROOT "}},l:{'':{length:0}}}",
			   "{length:5,path:['a']},{attr:'l',path:['l'],"
			   "'symlink path':['a']}",
			   "20*'x'"));
	/* bad_file_alignment */
	refuse_text(-EBADMSG, "does not start at a piece boundary",
		    HYBRID("{a:{'':{length:5," ROOT "}},b:{'':{length:5," ROOT
			   "}}}",
			   "{length:5,path:['a']},{length:5,path:['b']}",
			   "20*'x'"));
	/* v1's own rules hold as well */
	refuse_text(-EBADMSG, "the files make 1 pieces",
		    HYBRID("{a:{'':{length:5," ROOT "}}}",
			   "{length:5,path:['a']}", "40*'x'"));
}

static void test_write__keeps_the_layers(void **state)
{
	char *root = root_of_abc(), why[METAINFO_WHY_SIZE];
	struct metainfo *mi = accept_text(LAYERS("40000", "%s", "{'%s':'%s'}"),
					  root, root, abc);
	struct metainfo *again;
	struct buf b;

	buf_init(&b, 0);
	metainfo_write(mi, &b);
	assert_int_equal(metainfo_parse(b.ptr, b.len, &again, why), 0);
	assert_true(infohash2_eq(&mi->infohash2, &again->infohash2));
	assert_int_equal(again->piece_layers.len, mi->piece_layers.len);
	buf_release(&b);
	metainfo_free(mi);
	metainfo_free(again);
	free(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v2_only__fields),
		cmocka_unit_test(test_v2_only__infohash_of_the_raw_bytes),
		cmocka_unit_test(test_v2_only__single_file),
		cmocka_unit_test(test_v2_only__names),
		cmocka_unit_test(test_refused__piece_length),
		cmocka_unit_test(test_refused__file_tree),
		cmocka_unit_test(test_refused__tree_too_deep),
		cmocka_unit_test(test_refused__roots),
		cmocka_unit_test(test_refused__sizes),
		cmocka_unit_test(test_layers__fold_to_the_root),
		cmocka_unit_test(test_layers__may_be_missing),
		cmocka_unit_test(test_layers__are_shared),
		cmocka_unit_test(test_refused__layers),
		cmocka_unit_test(test_layers__of_a_small_file),
		cmocka_unit_test(test_layers__of_larger_pieces),
		cmocka_unit_test(test_hybrid__fields),
		cmocka_unit_test(test_hybrid__tail_pad_or_none),
		cmocka_unit_test(test_hybrid__single_file),
		cmocka_unit_test(test_hybrid__empty_files_around_pads),
		cmocka_unit_test(test_hybrid__with_a_symlink),
		cmocka_unit_test(test_hybrid__parts_must_agree),
		cmocka_unit_test(test_write__keeps_the_layers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
