/* linalg_real.h: included by linalg.c once per type REAL; LAPACK(name) are its routines. No include guard. */

tfcc_linalg CALL(cholesky), CALL(lu), CALL(determinant), CALL(log_determinant), CALL(solve), CALL(triangular_solve),
    CALL(qr), CALL(svd), CALL(singular_values), CALL(eigh);

/* to[column][row] = from[row][column]. */
static void STATIC(turn)(const REAL *from, REAL *to, int64_t rows, int64_t columns)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) to[c * rows + r] = from[r * columns + c];
    }
}

static void STATIC(spoil)(REAL *to, int64_t count)
{
    for (int64_t i = 0; i < count; i++) to[i] = (REAL)NAN;
}

void CALL(cholesky)(void *const *arg, int64_t m, int64_t n, int64_t k, int64_t flags, void *scratch)
{
    (void)m, (void)k, (void)flags, (void)scratch;
    REAL *l = arg[1];
    memcpy(l, arg[0], (size_t)(n * n) * sizeof *l);
    if (LAPACK(potrf)(LAPACK_COL_MAJOR, 'U', (lapack_int)n, l, (lapack_int)n) != 0) {
        STATIC(spoil)(l, n * n);
        return;
    }
    for (int64_t r = 0; r < n; r++) memset(l + r * n + r + 1, 0, (size_t)(n - r - 1) * sizeof *l);
}

/* The factors of a copy, in columns; the rows exchanged. False when a pivot is 0. */
static int STATIC(factor)(const REAL *a, int64_t n, char **scratch, REAL **out_factors, lapack_int **out_pivot)
{
    REAL *t = take(scratch, n * n * (int64_t)sizeof *t);
    lapack_int *pivot = take(scratch, n * (int64_t)sizeof *pivot);
    STATIC(turn)(a, t, n, n);
    *out_factors = t;
    *out_pivot = pivot;
    return LAPACK(getrf)(LAPACK_COL_MAJOR, (lapack_int)n, (lapack_int)n, t, (lapack_int)n, pivot) == 0;
}

void CALL(lu)(void *const *arg, int64_t m, int64_t n, int64_t k, int64_t flags, void *scratch)
{
    (void)m, (void)k, (void)flags;
    char *room = scratch;
    REAL *t;
    lapack_int *pivot;
    STATIC(factor)(arg[0], n, &room, &t, &pivot);
    STATIC(turn)(t, arg[1], n, n);
    int32_t *row = arg[2];
    for (int64_t i = 0; i < n; i++) row[i] = (int32_t)i;
    for (int64_t i = 0; i < n; i++) {
        const int32_t other = row[pivot[i] - 1];
        row[pivot[i] - 1] = row[i];
        row[i] = other;
    }
}

void CALL(determinant)(void *const *arg, int64_t m, int64_t n, int64_t k, int64_t flags, void *scratch)
{
    (void)m, (void)k, (void)flags;
    char *room = scratch;
    REAL *t, product = 1;
    lapack_int *pivot;
    STATIC(factor)(arg[0], n, &room, &t, &pivot);
    for (int64_t i = 0; i < n; i++) product *= pivot[i] == i + 1 ? t[i * n + i] : -t[i * n + i];
    *(REAL *)arg[1] = product;
}

void CALL(log_determinant)(void *const *arg, int64_t m, int64_t n, int64_t k, int64_t flags, void *scratch)
{
    (void)m, (void)k, (void)flags;
    char *room = scratch;
    REAL *t, sign = 1, sum = 0;
    lapack_int *pivot;
    STATIC(factor)(arg[0], n, &room, &t, &pivot);
    for (int64_t i = 0; i < n; i++) {
        const REAL x = pivot[i] == i + 1 ? t[i * n + i] : -t[i * n + i];
        sign = x == 0 ? 0 : x < 0 ? -sign : sign;
        sum += (REAL)log(fabs((double)x));
    }
    *(REAL *)arg[1] = sign;
    *(REAL *)arg[2] = sum;
}

void CALL(solve)(void *const *arg, int64_t m, int64_t n, int64_t k, int64_t flags, void *scratch)
{
    (void)n;
    char *room = scratch;
    REAL *t, *x;
    lapack_int *pivot;
    const int good = STATIC(factor)(arg[0], m, &room, &t, &pivot);
    x = take(&room, m * k * (int64_t)sizeof *x);
    STATIC(turn)(arg[1], x, m, k);
    LAPACK(getrs)(LAPACK_COL_MAJOR, flags & TFCC_TRANSPOSE ? 'T' : 'N', (lapack_int)m, (lapack_int)k, t, (lapack_int)m,
                  pivot, x, (lapack_int)m);
    STATIC(turn)(x, arg[2], k, m);
    if (!good) STATIC(spoil)(arg[2], m * k);
}

void CALL(triangular_solve)(void *const *arg, int64_t m, int64_t n, int64_t k, int64_t flags, void *scratch)
{
    (void)n;
    REAL *x = scratch;
    STATIC(turn)(arg[1], x, m, k);
    const int info = LAPACK(trtrs)(LAPACK_COL_MAJOR, flags & TFCC_LOWER ? 'U' : 'L', flags & TFCC_TRANSPOSE ? 'N' : 'T',
                                   'N', (lapack_int)m, (lapack_int)k, arg[0], (lapack_int)m, x, (lapack_int)m);
    STATIC(turn)(x, arg[2], k, m);
    if (info != 0) STATIC(spoil)(arg[2], m * k);
}

void CALL(qr)(void *const *arg, int64_t m, int64_t n, int64_t k, int64_t flags, void *scratch)
{
    (void)k;
    char *room = scratch;
    const int64_t small = least(m, n), large = m > n ? m : n, columns = flags & TFCC_FULL ? m : small;
    REAL *t = take(&room, m * large * (int64_t)sizeof *t), *tau = take(&room, small * (int64_t)sizeof *tau);
    REAL *work = (REAL *)room, *r = arg[2];
    const lapack_int size = (lapack_int)(64 * large), rows = (lapack_int)m;
    STATIC(turn)(arg[0], t, m, n);
    LAPACK(geqrf)(LAPACK_COL_MAJOR, rows, (lapack_int)n, t, rows, tau, work, size);
    for (int64_t i = 0; i < columns; i++) {
        for (int64_t j = 0; j < n; j++) r[i * n + j] = j >= i ? t[j * m + i] : 0;
    }
    LAPACK(orgqr)(LAPACK_COL_MAJOR, rows, (lapack_int)columns, (lapack_int)small, t, rows, tau, work, size);
    STATIC(turn)(t, arg[1], columns, m);
}

/* a as it lies is aT = v s uT in columns: LAPACK's u is our vT and its vT our u. */
static void STATIC(decompose)(char job, REAL *const out[3], const REAL *a, int64_t m, int64_t n, char *room)
{
    const int64_t small = least(m, n), other = job == 'A' ? m : small;
    REAL *t = take(&room, m * n * (int64_t)sizeof *t);
    lapack_int *whole = take(&room, 8 * small * (int64_t)sizeof *whole);
    const int64_t square = job == 'N' ? 0 : 4 * small * small, size = square + 7 * small + 32 * (m + n);
    memcpy(t, a, (size_t)(m * n) * sizeof *t);
    const int info = LAPACK(gesdd)(LAPACK_COL_MAJOR, job, (lapack_int)n, (lapack_int)m, t, (lapack_int)n, out[1], out[2],
                                   (lapack_int)n, out[0], (lapack_int)other, (REAL *)room, (lapack_int)size, whole);
    if (info != 0) STATIC(spoil)(out[1], small);
}

void CALL(svd)(void *const *arg, int64_t m, int64_t n, int64_t k, int64_t flags, void *scratch)
{
    (void)k;
    REAL *const out[] = {arg[1], arg[2], arg[3]};
    STATIC(decompose)(flags & TFCC_FULL ? 'A' : 'S', out, arg[0], m, n, scratch);
}

void CALL(singular_values)(void *const *arg, int64_t m, int64_t n, int64_t k, int64_t flags, void *scratch)
{
    (void)k, (void)flags;
    REAL *const out[] = {NULL, arg[1], NULL};
    STATIC(decompose)('N', out, arg[0], m, n, scratch);
}

void CALL(eigh)(void *const *arg, int64_t m, int64_t n, int64_t k, int64_t flags, void *scratch)
{
    (void)m, (void)k, (void)flags;
    char *room = scratch;
    REAL *t = take(&room, n * n * (int64_t)sizeof *t);
    lapack_int *whole = take(&room, (3 + 5 * n) * (int64_t)sizeof *whole);
    const int64_t size = 1 + 6 * n + 2 * n * n + 32 * n;
    memcpy(t, arg[0], (size_t)(n * n) * sizeof *t);
    const int info = LAPACK(syevd)(LAPACK_COL_MAJOR, 'V', 'U', (lapack_int)n, t, (lapack_int)n, arg[1], (REAL *)room,
                                   (lapack_int)size, whole, (lapack_int)(3 + 5 * n));
    STATIC(turn)(t, arg[2], n, n);
    if (info != 0) STATIC(spoil)(arg[1], n);
}
