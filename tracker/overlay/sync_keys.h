/* tracker/overlay/sync_keys.h: the cryptography between two trackers: Ed25519
 * says who they are, X25519 gives a secret that lives as long as a session,
 * HMAC-SHA256 cut to 128 bits is on every packet (0.9 us for 1232 bytes, a
 * hundredth of what a hand-off needs). All of it is OpenSSL's. One thread at a
 * time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SYNC_KEY_BYTES 32
#define SYNC_SIG_BYTES 64
#define SYNC_MAC_BYTES 16

struct sync_signer;

/* SEED: 32 bytes. */
struct sync_signer *sync_signer_new(const uint8_t seed[SYNC_KEY_BYTES]);
void sync_signer_free(struct sync_signer *s);
const uint8_t *sync_signer_pk(const struct sync_signer *s);
void sync_sign(struct sync_signer *s, const uint8_t *msg, size_t len,
	       uint8_t sig[SYNC_SIG_BYTES]);
bool sync_verify(const uint8_t pk[SYNC_KEY_BYTES], const uint8_t *msg,
		 size_t len, const uint8_t sig[SYNC_SIG_BYTES]);

/* Any 32 bytes are a secret. */
void sync_dh_public(const uint8_t secret[SYNC_KEY_BYTES],
		    uint8_t out[SYNC_KEY_BYTES]);
/* False: THEIRS is one of the points that give everybody the same secret. */
bool sync_dh(const uint8_t secret[SYNC_KEY_BYTES],
	     const uint8_t theirs[SYNC_KEY_BYTES], uint8_t out[SYNC_KEY_BYTES]);

struct sync_mac;

struct sync_mac *sync_mac_new(const uint8_t key[SYNC_KEY_BYTES]);
void sync_mac_free(struct sync_mac *m); /* NULL is harmless */
void sync_mac_of(struct sync_mac *m, const uint8_t *bytes, size_t len,
		 uint8_t out[SYNC_MAC_BYTES]);
/* Takes the same time whatever is wrong. */
bool sync_mac_is(struct sync_mac *m, const uint8_t *bytes, size_t len,
		 const uint8_t mac[SYNC_MAC_BYTES]);
