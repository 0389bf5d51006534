/* tracker/overlay/kt_id.h: who a tracker is: an Ed25519 key, the id that the
 * key and a subnet give a right to, and in a closed realm a certificate.
 *
 * Id: prefix32 || sha1(public key)[4..19]. prefix32 is the first four bytes of
 * SHA-256(realm || net || r), net the first 3 bytes of an IPv4 address or 6 of
 * an IPv6 one, r a byte 0 or 1 that the key chooses. At a local address
 * (loopback, private) the id is sha1(public key).
 *
 * A closed realm has a key of its own. Its owner makes it once, with
 * kt_realm_file_make, and keeps that file; who holds it certifies itself at
 * each start. A machine that should not hold it gets a file with a certificate
 * for its own public key instead. A file is lines of text:
 *
 *   # comment
 *   realm-public HEX64       of both kinds of file; alone: for clients
 *   realm-secret HEX64       the seed that signs certificates
 *   certificate HEX144       of one tracker: expiry (8 bytes, seconds since
 *                            1970) || signature
 *
 * The signature is over "weirfs tracker certificate" || realm || public key of
 * the tracker || expiry. Times are wall-clock here, and nowhere else.
 *
 * No state. Any thread. */
#pragma once

#include "dht/kad_id.h"
#include "engine/base/buf.h"
#include "tracker/overlay/names.h"

#define KT_PREFIX_BYTES 4 /* of an id: what the subnet says */
#define KT_SEED_BYTES   32
#define KT_PK_BYTES     32
#define KT_SIG_BYTES    64
#define KT_CERT_BYTES   (8 + KT_SIG_BYTES)

struct kt_key {
	uint8_t seed[KT_SEED_BYTES], pk[KT_PK_BYTES];
	void *pkey; /* owned; OpenSSL's */
};

void kt_key_init(struct kt_key *key, const uint8_t seed[KT_SEED_BYTES]);
void kt_key_release(struct kt_key *key); /* and wipes it */
void kt_key_sign(const struct kt_key *key, const void *msg, size_t len,
		 uint8_t sig[KT_SIG_BYTES]);
bool kt_key_verify(const uint8_t pk[KT_PK_BYTES], const void *msg, size_t len,
		   const uint8_t sig[KT_SIG_BYTES]);

/* AT: our address as others see it; NULL or local: any prefix will do. */
void kt_id_make(const uint8_t realm[KT_REALM_BYTES],
		const uint8_t pk[KT_PK_BYTES], const struct addr *at,
		struct kad_id *out);
/* Has the subnet of AT, which is not local, a right to the prefix of ID? */
bool kt_id_fits_net(const uint8_t realm[KT_REALM_BYTES],
		    const struct kad_id *id, const struct addr *at);
bool kt_id_fits_key(const struct kad_id *id, const uint8_t pk[KT_PK_BYTES]);

/* What a tracker signs to show that it has its key and is at AT: CHALLENGE is
 * the asker's, 8 bytes. */
void kt_proof_make(const struct kt_key *key,
		   const uint8_t realm[KT_REALM_BYTES],
		   const uint8_t challenge[8], const struct kad_id *id,
		   const struct addr *at, uint8_t sig[KT_SIG_BYTES]);
bool kt_proof_check(const uint8_t pk[KT_PK_BYTES],
		    const uint8_t realm[KT_REALM_BYTES],
		    const uint8_t challenge[8], const struct kad_id *id,
		    const struct addr *at, const uint8_t sig[KT_SIG_BYTES]);

void kt_cert_make(const struct kt_key *realm_key,
		  const uint8_t realm[KT_REALM_BYTES],
		  const uint8_t pk[KT_PK_BYTES], int64_t expiry_s,
		  uint8_t out[KT_CERT_BYTES]);
/* False: not of this realm's key, of another tracker, or expired. */
bool kt_cert_check(const uint8_t realm_pk[KT_PK_BYTES],
		   const uint8_t realm[KT_REALM_BYTES],
		   const uint8_t pk[KT_PK_BYTES], struct span cert,
		   int64_t wall_s, int64_t *expiry_s);

struct kt_realm_file {
	uint8_t pk[KT_PK_BYTES];
	bool has_secret, has_cert;
	uint8_t secret[KT_SEED_BYTES];
	uint8_t cert[KT_CERT_BYTES];
};

/* Returns 0, or -EBADMSG with WHY for people. */
int kt_realm_file_parse(const char *text, size_t len, struct kt_realm_file *out,
			char *why, size_t why_size);
/* The file of who may certify others, from 32 bytes of chance. */
void kt_realm_file_make(const uint8_t seed[KT_SEED_BYTES], struct buf *out);
/* The file of one tracker. */
void kt_realm_file_certify(const struct kt_realm_file *realm,
			   const char *domain, const uint8_t pk[KT_PK_BYTES],
			   int64_t expiry_s, struct buf *out);
/* Lets this file the tracker with the key PK be one of DOMAIN's? Returns 0, or
 * -EACCES with WHY for people. */
int kt_realm_file_check(const struct kt_realm_file *realm, const char *domain,
			const uint8_t pk[KT_PK_BYTES], int64_t wall_s,
			char *why, size_t why_size);
