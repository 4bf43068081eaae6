/* ops_project.c: keras.ops.image that warps images by projections: AffineTransform, PerspectiveTransform. */
#include "frontend/augment.h"

#include <math.h>
#include <string.h>

typedef struct projected {
    augment a;
    augment_state s;
    ir_value x; /* [N, rows, columns, channels]; one image: N is 1 */
    bool single, channels_first;
} projected;

static bool find_choice(op_use *u, const char *name, const char *const *known, const char **out)
{
    if (!op_find_text(u, name, out)) return false;
    if ((*out)[0] == '\0') *out = known[0];
    for (int i = 0; known[i]; i++) {
        if (strcmp(known[i], *out) == 0) return true;
    }
    return op_error(u, "the value \"%s\" of \"%s\" is not supported", *out, name);
}

static bool find_projected(op_use *u, projected *p)
{
    static const char *const ways[] = {"bilinear", "nearest", NULL};
    static const char *const modes[] = {"constant", "nearest", "wrap", "reflect", NULL};
    const char *way;
    *p = (projected){.a = {.l = u->l, .layer = u->l->layer, .u = *u}};
    if (!op_find_tensor(u, "images", &p->x) || !find_choice(u, "interpolation", ways, &way) ||
        !find_choice(u, "fill_mode", modes, &p->s.fill_mode) ||
        !op_find_number_or(u, "fill_value", 0, &p->s.fill_value[0]) ||
        !op_find_channels_first(u, &p->channels_first))
        return false;
    const ir_type t = op_type(u, p->x);
    if (t.rank != 3 && t.rank != 4) return op_fail_shape(u, "an image or a batch of images", &t);
    p->single = t.rank == 3;
    if (p->single) p->x = op_insert_dim(u, p->x, 0);
    if (p->channels_first) p->x = op_move_axis(u, p->x, 1, 3);
    p->a.type = op_type(u, p->x);
    for (int i = 1; i < 4; i++) {
        if (p->a.type.dim[i].batch || p->a.type.dim[i].count < 1)
            return op_fail_shape(u, "images of a fixed size", &t);
    }
    p->s.bilinear = strcmp(way, "bilinear") == 0;
    if (!ir_dtype_is_float(t.dtype)) p->s.fill_value[0] = trunc(p->s.fill_value[0]);
    return true;
}

static bool finish_projected(op_use *u, const projected *p, ir_value y, fe_value *out)
{
    if (p->channels_first) y = op_move_axis(u, y, 3, 1);
    return op_finish(u, p->single ? op_drop_dim(u, y, 0) : y, out);
}

/* Numbers for each image, or the same for all, as f32[N, ...]: as in Keras no gradient goes into them. */
static bool find_rows(op_use *u, const projected *p, const char *name, int rank, const int64_t *size, ir_value *out)
{
    ir_value rows;
    ir_dim dim[IR_MAX_RANK] = {p->a.type.dim[0]};
    if (!op_find_tensor(u, name, &rows)) return false;
    rows = op_map1(u, OP_stop_gradient, op_convert(u, rows, DTYPE_f32));
    if (op_type(u, rows).rank == rank) rows = op_insert_dim(u, rows, 0);
    for (int i = 0; i < rank; i++) dim[1 + i] = ir_fixed(size[i]);
    const ir_type t = op_type(u, rows), all = ir_type_make(DTYPE_f32, rank + 1, dim);
    bool fits = t.rank == rank + 1 && (ir_dim_equal(t.dim[0], dim[0]) || ir_dim_equal(t.dim[0], ir_fixed(1)));
    for (int i = 1; fits && i <= rank; i++) fits = ir_dim_equal(t.dim[i], dim[i]);
    if (!fits) return op_fail_shape(u, "numbers for one image or for each as the transform", &t);
    *out = ir_build_broadcast_to(u->l->g, rows, &all);
    return true;
}

bool op_build_affine_transform(op_use *u, fe_value *out)
{
    projected p;
    ir_value rows = IR_NONE, number[8], y;
    const int64_t size[] = {8};
    if (!find_projected(u, &p) || !find_rows(u, &p, "transform", 1, size, &rows)) return false;
    for (int i = 0; i < 8; i++) number[i] = op_drop_dim(u, op_slice_dim(u, rows, 1, i, i + 1), 1);
    const augment_projection by = {.a = {number[0], number[1], number[2]},
                                   .b = {number[3], number[4], number[5]},
                                   .c = {number[6], number[7]}};
    return augment_project(&p.a, &p.s, p.x, &by, &y) && finish_projected(u, &p, y, out);
}

bool op_build_perspective_transform(op_use *u, fe_value *out)
{
    projected p;
    ir_value from = IR_NONE, to = IR_NONE, y;
    const int64_t size[] = {4, 2};
    return find_projected(u, &p) && find_rows(u, &p, "start_points", 2, size, &from) &&
           find_rows(u, &p, "end_points", 2, size, &to) &&
           augment_project_corners(&p.a, &p.s, p.x, from, to, &y) && finish_projected(u, &p, y, out);
}
