/* cases_attention.c: attention in many shapes, with and without bias, mask and factors. Small ones have their gradients
 * checked by differences; large ones take several blocks of rows and keys, none of which divides the sizes. */
#include "ops/cases.h"

#include <math.h>

typedef struct setting {
    const int64_t *query, *key, *value; /* dims; NULL: in order */
    double scale, fill;
    bool causal;
} setting;

static const int64_t in_order[IR_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7}, heads_third[] = {0, 2, 1, 3};

static ir_type scores_of(const ir_graph *g, const ir_value *in, const setting *s)
{
    ir_type t = ir_type_transposed(ir_type_of(g, in[0]), s->query ? s->query : in_order);
    const ir_type k = ir_type_transposed(ir_type_of(g, in[1]), s->key ? s->key : in_order);
    bug_if(t.rank < 2, "no matrices");
    t.dim[t.rank - 1] = k.dim[t.rank - 2];
    return t;
}

/* bias, mask, keep: IR_NONE for none. */
static ir_value build(ir_graph *g, const ir_value *in, setting s, ir_value bias, ir_value mask, ir_value keep)
{
    const ir_type t = scores_of(g, in, &s);
    const ir_value all[] = {in[0], in[1], in[2], bias != IR_NONE ? bias : ir_build_fill(g, t, 0),
                            mask != IR_NONE ? mask : ir_build_fill(g, ir_type_with_dtype(t, DTYPE_i1), 1),
                            keep != IR_NONE ? keep : ir_build_fill(g, t, 1)};
    const ir_attr attr[] = {{.name = ATTR_query_dims, .ints = {t.rank, s.query ? s.query : in_order}},
                            {.name = ATTR_key_dims, .ints = {t.rank, s.key ? s.key : in_order}},
                            {.name = ATTR_value_dims, .ints = {t.rank, s.value ? s.value : in_order}},
                            {.name = ATTR_scale, .f = s.scale},
                            {.name = ATTR_fill, .f = s.fill},
                            {.name = ATTR_causal, .i = s.causal}};
    return ir_build_get(g, ir_build(g, OP_attention, 6, all, (int)countof(attr), attr, NULL), 0);
}

/* Row numbers compared with key numbers. */
static ir_value compare_places(ir_graph *g, const ir_value *in, const setting *s, const char *way)
{
    const ir_type t = ir_type_with_dtype(scores_of(g, in, s), DTYPE_i32);
    return ir_build_compare(g, way, ir_build_iota(g, t, t.rank - 2), ir_build_iota(g, t, t.rank - 1));
}

/* |row - key| < 20 */
static ir_value find_near(ir_graph *g, const ir_value *in, const setting *s)
{
    const ir_type t = ir_type_with_dtype(scores_of(g, in, s), DTYPE_i32);
    const ir_value apart = ir_build_binary(g, OP_subtract, ir_build_iota(g, t, t.rank - 2), ir_build_iota(g, t, t.rank - 1));
    return ir_build_compare(g, "LT", ir_build_unary(g, OP_abs, apart), ir_build_scalar(g, DTYPE_i32, 20));
}

static ir_value plain(ir_graph *g, const ir_value *in)
{
    return build(g, in, (setting){.scale = 0.5}, IR_NONE, IR_NONE, IR_NONE);
}

static ir_value masked(ir_graph *g, const ir_value *in)
{
    return build(g, in, (setting){.scale = 1, .fill = -1e9}, IR_NONE, in[3], IR_NONE);
}

static ir_value causal(ir_graph *g, const ir_value *in)
{
    const setting s = {heads_third, heads_third, heads_third, 0.7, -2.3e38, true};
    return build(g, in, s, IR_NONE, compare_places(g, in, &s, "GE"), IR_NONE);
}

/* Padding may hide all that causality shows: then the mean of all values counts. */
static ir_value causal_padded(ir_graph *g, const ir_value *in)
{
    const setting s = {.scale = 0.7, .fill = -1e9, .causal = true};
    const ir_type t = ir_type_with_dtype(scores_of(g, in, &s), DTYPE_i1);
    const ir_value padding = ir_build_broadcast_in_dim(g, in[3], &t, (int64_t[]){0, 2});
    return build(g, in, s, IR_NONE, ir_build_binary(g, OP_and, compare_places(g, in, &s, "GE"), padding), IR_NONE);
}

/* A bias of 0 or -1e9, under which scores stay apart, as a mask that is added. */
static ir_value causal_added(ir_graph *g, const ir_value *in)
{
    const setting s = {.scale = 0.7, .fill = -1e9, .causal = true};
    const ir_type t = scores_of(g, in, &s);
    const ir_value bias =
        ir_build_select(g, compare_places(g, in, &s, "GE"), ir_build_fill(g, t, 0), ir_build_fill(g, t, -1e9));
    return build(g, in, s, bias, IR_NONE, IR_NONE);
}

static ir_value biased(ir_graph *g, const ir_value *in)
{
    const setting s = {.scale = 0.5};
    const ir_type t = scores_of(g, in, &s);
    const ir_value bias = ir_build_binary_scalar(g, OP_multiply, ir_build_convert(g, in[3], t.dtype), 0.25);
    const ir_value keep = ir_build_select(g, in[4], ir_build_fill(g, t, 1.25), ir_build_fill(g, t, 0));
    return build(g, in, s, bias, IR_NONE, keep);
}

/* Whole blocks of a row's keys are at -inf before the first one that counts. */
static ir_value windowed(ir_graph *g, const ir_value *in)
{
    const setting s = {.scale = 0.3};
    const ir_type t = scores_of(g, in, &s);
    const ir_value bias =
        ir_build_select(g, find_near(g, in, &s), ir_build_fill(g, t, 0), ir_build_fill(g, t, -INFINITY));
    return build(g, in, s, bias, IR_NONE, IR_NONE);
}

/* A trained product: the gradient of the result is a transpose, in which the node reads it. */
static ir_value turned(ir_graph *g, const ir_value *in)
{
    return ir_build_transpose(g, causal(g, in), heads_third);
}

/* The gradients of query, key and value at a gradient in[3] of the result, one after another. */
static ir_value back(ir_graph *g, const ir_value *in)
{
    const ir_value y = plain(g, in), all = ir_node_of(g, y)->in[0];
    const ir_node n = *ir_node_of(g, all);
    ir_value operand[ATTENTION_GRADIENT + 1];
    ir_attr attr[8];
    for (int i = 0; i < n.in_count; i++) operand[i] = n.in[i];
    for (int i = 0; i < 3; i++) operand[ATTENTION_RESULT + i] = ir_build_get(g, all, i);
    operand[ATTENTION_GRADIENT] = in[3];
    for (int i = 0; i < n.attr_count; i++) attr[i] = n.attr[i];
    attr[n.attr_count] = (ir_attr){.name = ATTR_result_dims, .ints = {3, in_order}};
    const ir_value made = ir_build(g, OP_attention_back, (int)countof(operand), operand, n.attr_count + 1, attr, NULL);
    const ir_value parts[] = {ir_build_get(g, made, 0), ir_build_get(g, made, 1), ir_build_get(g, made, 2)};
    return ir_build_concatenate(g, 3, parts, 1);
}

#define MATRICES(rows, keys, width, values)                                                                            \
    {"f32[N," rows "," width "]", -2, 2, 0, NULL}, {"f32[N," keys "," width "]", -2, 2, 0, NULL},                      \
    {"f32[N," keys "," values "]", -2, 2, 0, NULL}
#define FIXED(rows, keys, width, values)                                                                               \
    {"f32[1," rows "," width "]", -2, 2, 0, NULL}, {"f32[1," keys "," width "]", -2, 2, 0, NULL},                      \
    {"f32[1," keys "," values "]", -2, 2, 0, NULL}

static const ops_case cases[] = {
    {.name = "attention_known", .op = OP_attention, .n = 1, .build = plain,
     .in = {{"f32[N,2,2]", -2, 2, VALUES(1, 2, 0, -1)}, {"f32[N,3,2]", -2, 2, VALUES(1, 0, 0.5, 1, -1, 2)},
            {"f32[N,3,2]", -2, 2, VALUES(1, -1, 2, 0, 0, 3)}},
     .expect = EXPECT(0.896957537, 1.22613537, 1.12087216, 0.0524907786)},
    {.name = "attention_back_known", .op = OP_attention_back, .n = 1, .build = back,
     .in = {{"f32[N,2,2]", -2, 2, VALUES(1, 2, 0, -1)}, {"f32[N,3,2]", -2, 2, VALUES(1, 0, 0.5, 1, -1, 2)},
            {"f32[N,3,2]", -2, 2, VALUES(1, -1, 2, 0, 0, 3)}, {"f32[N,2,2]", -2, 2, VALUES(1, 0.5, -1, 2)}},
     .expect = EXPECT(-0.0397697616, 0.0842096291, -1.23164827, 1.15606968, -0.0865446821, 0.329366887, 0.0888797351,
         0.328916649, -0.00233504828, -0.658283536, -0.335109063, 1.09864645, 0.0555972189, 0.795788324, 0.279511844,
         0.60556523)},
    {.name = "attention", .op = OP_attention, .build = plain, .in = {MATRICES("3", "5", "4", "6")}},
    {.name = "attention_whole_panels", .op = OP_attention, .build = plain, .in = {MATRICES("6", "32", "16", "16")}},
    {.name = "attention_one_row", .op = OP_attention, .build = plain, .in = {MATRICES("1", "7", "1", "1")}},
    {.name = "attention_masked", .op = OP_attention, .build = masked,
     .in = {MATRICES("7", "5", "3", "9"), {"i1[N,7,5]", 0, 1, 0, NULL}}},
    {.name = "attention_causal", .op = OP_attention, .build = causal,
     .in = {{"f32[N,5,2,4]", -2, 2, 0, NULL}, {"f32[N,7,2,4]", -2, 2, 0, NULL}, {"f32[N,7,2,3]", -2, 2, 0, NULL}}},
    {.name = "attention_turned", .op = OP_attention, .build = turned,
     .in = {{"f32[N,5,2,4]", -2, 2, 0, NULL}, {"f32[N,7,2,4]", -2, 2, 0, NULL}, {"f32[N,7,2,3]", -2, 2, 0, NULL}}},
    {.name = "attention_causal_padded", .op = OP_attention, .build = causal_padded,
     .in = {MATRICES("8", "8", "3", "2"), {"i1[N,8]", 0, 1, 0, NULL}}},
    {.name = "attention_causal_added", .op = OP_attention, .build = causal_added, .in = {MATRICES("8", "8", "3", "2")}},
    {.name = "attention_biased", .op = OP_attention, .build = biased,
     .in = {MATRICES("4", "6", "3", "5"), {"i32[N,4,6]", -9, 9, 0, NULL}, {"i1[N,4,6]", 0, 1, 0, NULL}}},
    {.name = "attention_blocks", .op = OP_attention, .build = plain, .in = {FIXED("301", "277", "20", "35")}},
    {.name = "attention_blocks_masked", .op = OP_attention, .build = masked,
     .in = {FIXED("150", "300", "9", "8"), {"i1[1,150,300]", 0, 1, 0, NULL}}},
    {.name = "attention_blocks_causal", .op = OP_attention, .build = causal_added, .in = {FIXED("301", "303", "5", "16")}},
    {.name = "attention_more_keys", .op = OP_attention, .build = causal_added, .in = {FIXED("70", "400", "5", "7")}},
    {.name = "attention_more_rows", .op = OP_attention, .build = causal_added, .in = {FIXED("400", "70", "5", "7")}},
    {.name = "attention_blocks_padded", .op = OP_attention, .build = causal_padded,
     .in = {FIXED("301", "303", "5", "16"), {"i1[1,303]", 0, 1, 0, NULL}}},
    {.name = "attention_blocks_biased", .op = OP_attention, .build = biased,
     .in = {FIXED("97", "270", "8", "16"), {"i32[1,97,270]", -9, 9, 0, NULL}, {"i1[1,97,270]", 0, 1, 0, NULL}}},
    {.name = "attention_windowed", .op = OP_attention, .build = windowed, .in = {FIXED("410", "410", "4", "4")}},
};

const ops_list ops_cases_attention = {sizeof cases / sizeof *cases, cases};
