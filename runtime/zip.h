/* zip.h: the part of the ZIP format that .npz uses: stored and deflated members, zip64. Own code because
 * libzip pulls in libraries that cost more start-up time than a small model's first step (0.7 ms against none
 * for zlib alone). Sizes are checked against the file before memory is taken: a hostile file costs an error.
 */
#ifndef RT_ZIP_H
#define RT_ZIP_H

#include "file.h"

typedef struct zip_member {
    char *name;
    uint32_t method; /* 0 stored, 8 deflated */
    uint32_t crc;
    uint64_t packed, size; /* bytes in the file, bytes of content */
    uint64_t header;       /* offset of the local header */
} zip_member;

typedef struct zip_archive {
    const input *in;
    zip_member *member;
    uint64_t count;
} zip_archive;

bool zip_open(zip_archive *z, const input *in);
/* Reads a member's whole content, `size` bytes, and checks its CRC. */
bool zip_read(const zip_archive *z, const zip_member *m, void *out_bytes);

/* Writing: stored members one after another. */
typedef struct zip_writer {
    output *out;
    zip_member *member;
    uint64_t count, capacity;
} zip_writer;

bool zip_writer_init(zip_writer *w, output *out, uint64_t most_members);
/* The content is head followed by body; name must live as long as w. */
void zip_writer_add(zip_writer *w, char *name, const void *head, uint64_t head_size, const void *body,
                    uint64_t body_size);
void zip_writer_finish(zip_writer *w);

#endif
