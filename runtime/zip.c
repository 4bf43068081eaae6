/* zip.c: reading; see zip.h. Offsets in the comments are those of the ZIP specification's records. */
#include "zip.h"

#include <string.h>
#include <zlib.h>

enum {
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    CENTRAL_BYTES = 46,
    LOCAL_BYTES = 30,
    LONGEST_COMMENT = 65535,
    END_SIGN = 0x06054b50,
    END64_SIGN = 0x06064b50,
    LOCATOR_SIGN = 0x07064b50,
    CENTRAL_SIGN = 0x02014b50,
    LOCAL_SIGN = 0x04034b50,
    MOST_EXPANSION = 1032, /* deflate cannot do better */
    ENCRYPTED = 1
};

static uint32_t get16(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }

static uint32_t get32(const uint8_t *p) { return get16(p) | get16(p + 2) << 16; }

static uint64_t get64(const uint8_t *p) { return get32(p) | (uint64_t)get32(p + 4) << 32; }

static bool refuse(const input *in, const char *why)
{
    return rt_wrong(in->r, "%s: not a readable .npz file: %s", in->name, why);
}

typedef struct directory {
    uint64_t offset, size, count;
} directory;

/* Follows the zip64 locator, which lies just before the end record at `end`, if there is one. */
static bool find_directory64(const input *in, uint64_t end, directory *d)
{
    uint8_t locator[LOCATOR_BYTES], record[END64_BYTES];
    if (end < LOCATOR_BYTES) return true;
    if (!input_read(in, end - LOCATOR_BYTES, locator, sizeof locator)) return false;
    if (get32(locator) != LOCATOR_SIGN) return true;
    if (!input_read(in, get64(locator + 8), record, sizeof record)) return false;
    if (get32(record) != END64_SIGN) return refuse(in, "a broken zip64 end record");
    *d = (directory){.count = get64(record + 32), .size = get64(record + 40), .offset = get64(record + 48)};
    return true;
}

static bool find_directory(const input *in, directory *d)
{
    uint64_t most = LONGEST_COMMENT + END_BYTES;
    uint64_t size = in->size < most ? in->size : most;
    uint8_t *tail = rt_alloc(in->r, size, "a file's end");
    if (!tail) return false;
    bool ok = input_read(in, in->size - size, tail, size), found = false;
    for (uint64_t at = size < END_BYTES ? 0 : size - END_BYTES + 1; ok && !found && at-- > 0;) {
        const uint8_t *p = tail + at;
        found = get32(p) == END_SIGN && get16(p + 20) <= size - at - END_BYTES;
        if (!found) continue;
        *d = (directory){.count = get16(p + 10), .size = get32(p + 12), .offset = get32(p + 16)};
        ok = find_directory64(in, in->size - size + at, d);
    }
    rt_free(in->r, tail);
    if (!ok) return false;
    if (!found) return refuse(in, "no ZIP directory at its end");
    if (d->size > in->size || d->offset > in->size - d->size || d->count > d->size / CENTRAL_BYTES) {
        return refuse(in, "its directory lies outside the file");
    }
    return true;
}

/* Replaces the fields that say 0xffffffff by those of the zip64 extra field, in their fixed order. */
static bool read_extra(const uint8_t *p, uint32_t size, zip_member *m)
{
    while (size >= 4) {
        uint32_t id = get16(p), length = get16(p + 2);
        if (length > size - 4) return false;
        const uint8_t *at = p + 4, *end = at + length;
        uint64_t *field[] = {&m->size, &m->packed, &m->header};
        for (size_t i = 0; id == 1 && i < RT_COUNT(field); i++) {
            if (*field[i] != UINT32_MAX) continue;
            if (end - at < 8) return false;
            *field[i] = get64(at);
            at += 8;
        }
        p += 4 + length;
        size -= 4 + length;
    }
    return true;
}

/* Reads the directory entry at p, of which `left` bytes exist. Returns its length, 0 after an error. */
static uint64_t read_entry(const input *in, const uint8_t *p, uint64_t left, zip_member *m)
{
    if (left < CENTRAL_BYTES || get32(p) != CENTRAL_SIGN) return refuse(in, "a broken directory entry");
    uint64_t name = get16(p + 28), extra = get16(p + 30), comment = get16(p + 32);
    if (name + extra + comment > left - CENTRAL_BYTES) return refuse(in, "a broken directory entry");
    *m = (zip_member){.method = get16(p + 10),
                      .crc = get32(p + 16),
                      .packed = get32(p + 20),
                      .size = get32(p + 24),
                      .header = get32(p + 42)};
    if (!read_extra(p + CENTRAL_BYTES + name, (uint32_t)extra, m)) return refuse(in, "a broken extra field");
    m->name = rt_printf(in->r, "%.*s", (int)name, (const char *)p + CENTRAL_BYTES);
    if (!m->name) return 0;
    if (get16(p + 8) & ENCRYPTED) return refuse(in, "it is encrypted");
    if (m->method != 0 && m->method != 8) {
        return rt_wrong(
            in->r, "%s: member \"%s\": expected a stored or deflated member, found compression method %u",
            in->name, m->name, (unsigned)m->method);
    }
    bool fits = m->method == 0 ? m->size == m->packed : m->size / MOST_EXPANSION <= m->packed;
    if (!fits || m->header > in->size || m->packed > in->size - m->header) {
        return rt_wrong(in->r, "%s: member \"%s\": its sizes do not fit the file", in->name, m->name);
    }
    return CENTRAL_BYTES + name + extra + comment;
}

bool zip_open(zip_archive *z, const input *in)
{
    directory d = {0};
    *z = (zip_archive){.in = in};
    if (!find_directory(in, &d)) return false;
    uint8_t *bytes = rt_alloc(in->r, d.size, "a ZIP directory");
    z->member = rt_alloc_many(in->r, d.count, sizeof *z->member, "a ZIP directory");
    if (!bytes || !z->member || !input_read(in, d.offset, bytes, d.size)) return false;
    uint64_t at = 0;
    for (; z->count < d.count; z->count++) {
        uint64_t length = read_entry(in, bytes + at, d.size - at, &z->member[z->count]);
        if (length == 0) return false;
        at += length;
    }
    rt_free(in->r, bytes);
    return true;
}

enum { PIECE = 1 << 18 };

static bool inflate_member(const input *in, uint64_t offset, const zip_member *m, uint8_t *to)
{
    z_stream s = {0};
    if (inflateInit2(&s, -MAX_WBITS) != Z_OK)
        return rt_failed(in->r, "%s: not enough memory to inflate", in->name);
    uint8_t *piece = rt_alloc(in->r, PIECE, "inflating");
    uint64_t packed = m->packed, made = 0;
    int state = Z_OK;
    bool read = piece != NULL;
    while (read && state == Z_OK && (packed > 0 || s.avail_in > 0)) {
        if (s.avail_in == 0) {
            s.avail_in = (uInt)(packed < PIECE ? packed : PIECE);
            s.next_in = piece;
            read = input_read(in, offset, piece, s.avail_in);
            offset += s.avail_in;
            packed -= s.avail_in;
        }
        uint64_t room = m->size - made;
        s.avail_out = (uInt)(room < (1u << 30) ? room : 1u << 30);
        s.next_out = to + made;
        uInt before = s.avail_out;
        if (read) state = inflate(&s, Z_NO_FLUSH);
        made += before - s.avail_out;
    }
    inflateEnd(&s);
    rt_free(in->r, piece);
    if (!read) return false;
    bool whole = state == Z_STREAM_END && made == m->size;
    return whole || rt_wrong(in->r, "%s: member \"%s\": damaged compressed data", in->name, m->name);
}

static uint32_t checksum(uLong crc, const uint8_t *bytes, uint64_t size)
{
    while (size > 0) {
        uInt most = (uInt)(size < (1u << 30) ? size : 1u << 30);
        crc = crc32(crc, bytes, most);
        bytes += most;
        size -= most;
    }
    return (uint32_t)crc;
}

bool zip_read(const zip_archive *z, const zip_member *m, void *out_bytes)
{
    const input *in = z->in;
    uint8_t local[LOCAL_BYTES];
    if (!input_read(in, m->header, local, sizeof local)) return false;
    if (get32(local) != LOCAL_SIGN) return refuse(in, "a member has no header");
    uint64_t offset = m->header + LOCAL_BYTES + get16(local + 26) + get16(local + 28);
    bool ok = m->method == 0 ? input_read(in, offset, out_bytes, m->size)
                             : inflate_member(in, offset, m, out_bytes);
    if (!ok) return false;
    if (checksum(crc32(0, NULL, 0), out_bytes, m->size) == m->crc) return true;
    return rt_wrong(in->r, "%s: member \"%s\": damaged data (wrong CRC)", in->name, m->name);
}

/* ---- writing ----------------------------------------------------------------------------------------------
 */

static uint8_t *put(uint8_t *p, int bytes, uint64_t value)
{
    for (int i = 0; i < bytes; i++) *p++ = (uint8_t)(value >> 8 * i);
    return p;
}

bool zip_writer_init(zip_writer *w, output *out, uint64_t most_members)
{
    *w = (zip_writer){.out = out, .capacity = most_members};
    w->member = rt_alloc_many(out->r, most_members, sizeof *w->member, "a ZIP directory");
    return w->member != NULL;
}

/* Both headers share this middle: version, flags, method, time (1980-01-01: the same data gives the same
 * bytes), crc. Sizes are always in a zip64 field. */
static uint8_t *put_common(uint8_t *p, const zip_member *m, uint32_t extra)
{
    p = put(p, 2, 45);
    p = put(p, 2, 0);
    p = put(p, 2, 0);
    p = put(p, 2, 0);
    p = put(p, 2, 0x21);
    p = put(p, 4, m->crc);
    p = put(p, 4, UINT32_MAX);
    p = put(p, 4, UINT32_MAX);
    p = put(p, 2, strlen(m->name));
    return put(p, 2, extra);
}

void zip_writer_add(zip_writer *w, char *name, const void *head, uint64_t head_size, const void *body,
                    uint64_t body_size)
{
    uint32_t crc = checksum(checksum(crc32(0, NULL, 0), head, head_size), body, body_size);
    zip_member m = {.name = name, .crc = crc, .size = head_size + body_size, .header = w->out->written};
    uint8_t record[LOCAL_BYTES], extra[20], *p = put(record, 4, LOCAL_SIGN);
    put_common(p, &m, sizeof extra);
    p = put(put(extra, 2, 1), 2, 16);
    put(put(p, 8, m.size), 8, m.size);
    output_write(w->out, record, sizeof record);
    output_write(w->out, name, strlen(name));
    output_write(w->out, extra, sizeof extra);
    output_write(w->out, head, head_size);
    output_write(w->out, body, body_size);
    w->member[w->count++] = m;
}

static void write_entry(output *out, const zip_member *m)
{
    uint8_t record[CENTRAL_BYTES], extra[28], *p = put(put(record, 4, CENTRAL_SIGN), 2, 45);
    p = put_common(p, m, sizeof extra);
    p = put(p, 2, 0);
    p = put(p, 2, 0);
    p = put(p, 2, 0);
    p = put(p, 4, 0);
    put(p, 4, UINT32_MAX);
    p = put(put(extra, 2, 1), 2, 24);
    put(put(put(p, 8, m->size), 8, m->size), 8, m->header);
    output_write(out, record, sizeof record);
    output_write(out, m->name, strlen(m->name));
    output_write(out, extra, sizeof extra);
}

void zip_writer_finish(zip_writer *w)
{
    uint64_t start = w->out->written;
    for (uint64_t i = 0; i < w->count; i++) write_entry(w->out, &w->member[i]);
    uint64_t end = w->out->written;
    uint8_t record[END64_BYTES + LOCATOR_BYTES + END_BYTES] = {0}, *p = put(record, 4, END64_SIGN);
    p = put(p, 8, END64_BYTES - 12);
    p = put(put(p, 2, 45), 2, 45);
    p = put(put(p, 4, 0), 4, 0);
    p = put(put(p, 8, w->count), 8, w->count);
    p = put(put(p, 8, end - start), 8, start);
    p = put(put(p, 4, LOCATOR_SIGN), 4, 0);
    p = put(put(p, 8, end), 4, 1);
    p = put(put(put(p, 4, END_SIGN), 2, 0), 2, 0);
    p = put(put(p, 2, UINT16_MAX), 2, UINT16_MAX);
    put(put(p, 4, UINT32_MAX), 4, UINT32_MAX);
    output_write(w->out, record, sizeof record);
}
