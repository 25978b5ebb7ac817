#ifndef HOLDFAST_CCHECKSUM_H
#define HOLDFAST_CCHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/// Whether this processor has instructions for CRC-32C.
int holdfast_has_crc32c(void);

/// Goes on with a CRC-32C (RFC 3720, appendix B.4), without the inversions before and after. Only
/// where holdfast_has_crc32c() is not 0.
uint32_t holdfast_crc32c(uint32_t crc, const uint8_t *bytes, size_t count);

#endif
