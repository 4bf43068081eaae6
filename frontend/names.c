/* names.c: Keras's snake case, and the known name nearest to a misspelt one. */
#include "frontend/fe.h"

#include <string.h>

static bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
static bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
static bool is_word(char c) { return is_upper(c) || is_lower(c) || (c >= '0' && c <= '9') || c == '_'; }

/* Two passes, as Keras's: "_" before a capital that starts a lower-case word (a word takes its whole match,
 * so the next one may wait for the second pass), then between a lower-case letter and a capital. */
const char *fe_snake_case(fe *f, const char *class_name)
{
    size_t length = strlen(class_name);
    char *word = arena_alloc(f->arena, length + 1);
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        if (is_word(class_name[i])) word[n++] = class_name[i];
    }
    char *first = arena_alloc(f->arena, 2 * n + 1), *second = arena_alloc(f->arena, 4 * n + 1);
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        first[k++] = word[i++];
        if (i + 1 >= n || !is_upper(word[i]) || !is_lower(word[i + 1])) continue;
        first[k++] = '_';
        first[k++] = word[i++];
        while (i < n && is_lower(word[i])) first[k++] = word[i++];
    }
    size_t out = 0;
    for (size_t i = 0; i < k; i++) {
        second[out++] = (char)(is_upper(first[i]) ? first[i] - 'A' + 'a' : first[i]);
        if (i + 1 < k && is_lower(first[i]) && is_upper(first[i + 1])) second[out++] = '_';
    }
    return second;
}

enum { NEAR_LENGTH = 64 };

static char lower(char c) { return (char)(is_upper(c) ? c - 'A' + 'a' : c); }

/* Edits (insert, delete, replace, swap neighbours) between the names, ignoring case; both shorter than
 * NEAR_LENGTH. */
static int count_edits(const char *a, const char *b)
{
    int row[3][NEAR_LENGTH + 1]; /* of i - 2, i - 1 and i letters of a, at i modulo 3 */
    int width = (int)strlen(b), length = (int)strlen(a);
    for (int j = 0; j <= width; j++) row[0][j] = j;
    for (int i = 1; i <= length; i++) {
        int *now = row[i % 3], *before = row[(i + 2) % 3], *earlier = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= width; j++) {
            char x = lower(a[i - 1]), y = lower(b[j - 1]);
            int best = before[j - 1] + (x != y);
            if (before[j] + 1 < best) best = before[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && x == lower(b[j - 2]) && y == lower(a[i - 2]);
            if (swapped && earlier[j - 2] + 1 < best) best = earlier[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[length % 3][width];
}

const char *fe_nearest(const char *name, size_t count, const char *const *known)
{
    size_t length = strlen(name);
    if (length >= NEAR_LENGTH) return NULL;
    int least = (int)length / 3 + 1;
    const char *best = NULL;
    for (size_t i = 0; i < count; i++) {
        if (strlen(known[i]) >= NEAR_LENGTH) continue;
        int edits = count_edits(name, known[i]);
        if (edits < least) {
            least = edits;
            best = known[i];
        }
    }
    return best;
}
