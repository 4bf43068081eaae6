/* cases_sparse.c: sparse rows: constants that hold the addresses of records. */
#include "ops/cases.h"

#include <stdint.h>

typedef struct record {
    uint32_t count, column[2];
    float value[2];
} record;

static const record first = {2, {0, 3}, {2, -1}}, last = {2, {1, 3}, {0.5F, 4}};

/* [[2,0,0,-1], [0,0,0,0], [0,0.5,0,4]] */
static ir_value build_rows(ir_graph *g)
{
    const uint64_t rows[] = {(uint64_t)(uintptr_t)&first, 0, (uint64_t)(uintptr_t)&last};
    const ir_dim three = ir_fixed(3);
    return ir_build_constant(g, ir_type_make(DTYPE_row, 1, &three), rows);
}

static ir_value build_product(ir_graph *g, ir_op op, const ir_value *x, const char *type)
{
    const ir_value in[] = {build_rows(g), x ? *x : IR_NONE};
    const ir_type given = ops_type_read(type, false);
    return ir_build(g, op, x ? 2 : 1, in, 0, NULL, &given);
}

static ir_value build_dot(ir_graph *g, const ir_value *in) { return build_product(g, OP_sparse_dot, &in[0], "f32[3,2]"); }
static ir_value build_back(ir_graph *g, const ir_value *in)
{
    return build_product(g, OP_sparse_dot_back, &in[0], "f32[4,2]");
}
static ir_value build_dense(ir_graph *g, const ir_value *in)
{
    (void)in;
    return build_product(g, OP_sparse_dense, NULL, "f32[3,4]");
}

/* Contractions and sums of the dense matrix: pass `sparse` takes them from the rows. */
static ir_value build_by_pass(ir_graph *g, const ir_value *in)
{
    const ir_value x = build_product(g, OP_sparse_dense, NULL, "f32[3,4]");
    const ir_value both[] = {x, in[1]}, wide = ir_build_concatenate(g, 2, both, 1);
    const ir_value y = ir_build_dot(g, ir_build_binary(g, OP_add, x, x), in[0]);
    const ir_value z = ir_build_reduce(g, "add", wide, 1, (const int64_t[]){1}, true);
    return ir_build_binary(g, OP_add, y, ir_build_broadcast_to(g, z, ir_type_of(g, y)));
}

/* Indices 3 1 3, 0 0 4 and -1 5 2 of 5 columns: as a matrix, and its product, which pass `sparse` takes from the records. */
static ir_value build_encoding(ir_graph *g, const char *kind)
{
    const int64_t index[] = {3, 1, 3, 0, 0, 4, -1, 5, 2};
    const ir_type type = ir_type_make(DTYPE_i64, 2, (ir_dim[]){ir_fixed(3), ir_fixed(3)}), dense = ops_type_read("f32[3,5]", false);
    const ir_value x = ir_build_constant(g, type, index);
    const ir_attr attr[] = {{.name = ATTR_kind, .text = kind}, {.name = ATTR_length, .i = 5}};
    const ir_value records = ir_build(g, OP_sparse_encode, 1, &x, (int)countof(attr), attr, NULL);
    return ir_build(g, OP_sparse_dense, 1, &records, 0, NULL, &dense);
}

static ir_value build_count(ir_graph *g, const ir_value *in)
{
    (void)in;
    return build_encoding(g, "count");
}

static ir_value build_multi_hot(ir_graph *g, const ir_value *in)
{
    (void)in;
    return build_encoding(g, "multi_hot");
}

static ir_value build_encoded_product(ir_graph *g, const ir_value *in)
{
    const ir_value whole = ir_build_convert(g, build_encoding(g, "count"), DTYPE_i64), two[] = {whole, whole};
    const ir_value wide = ir_build_convert(g, ir_build_concatenate(g, 2, two, 1), DTYPE_f32);
    const ir_value both[] = {in[0], in[0]};
    return ir_build_dot(g, wide, ir_build_concatenate(g, 2, both, 0));
}

static const ops_case cases[] = {
    {.name = "sparse_dot", .op = OP_sparse_dot, .build = build_dot, .no_gradient = true,
     .in = {{"f32[4,2]", -1, 1, VALUES(1, 2, 3, 4, 5, 6, 7, 8)}},
     .expect = EXPECT(-5, -4, 0, 0, 29.5, 34)},
    {.name = "sparse_dot_back", .op = OP_sparse_dot_back, .build = build_back, .no_gradient = true,
     .in = {{"f32[3,2]", -1, 1, VALUES(1, 2, 3, 4, 5, 6)}},
     .expect = EXPECT(2, 4, 2.5, 3, 0, 0, 19, 22)},
    {.name = "sparse_dense", .op = OP_sparse_dense, .build = build_dense,
     .expect = EXPECT(2, 0, 0, -1, 0, 0, 0, 0, 0, 0.5, 0, 4)},
    {.name = "sparse_pass", .op = OP_sparse_dense, .build = build_by_pass, .no_gradient = true,
     .in = {{"f32[4,2]", -1, 1, VALUES(1, 2, 3, 4, 5, 6, 7, 8)}, {"f32[3,1]", -1, 1, VALUES(10, 20, 30)}},
     .expect = EXPECT(1, 3, 20, 20, 93.5, 102.5)},
    {.name = "sparse_encode_count", .op = OP_sparse_encode, .build = build_count,
     .expect = EXPECT(0, 1, 0, 2, 0, 2, 0, 0, 0, 1, 0, 0, 1, 0, 0)},
    {.name = "sparse_encode_multi_hot", .op = OP_sparse_encode, .build = build_multi_hot,
     .expect = EXPECT(0, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0)},
    {.name = "sparse_encode_product", .op = OP_sparse_encode, .build = build_encoded_product, .no_gradient = true,
     .in = {{"f32[5,2]", -1, 1, VALUES(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)}},
     .expect = EXPECT(34, 40, 22, 28, 10, 12)},
};

const ops_list ops_cases_sparse = {countof(cases), cases};
