/* layers_einsum.c: EinsumDense, which attention layers also use for their projections. */
#include "frontend/layers.h"

#include <ctype.h>
#include <string.h>

bool fe_einsum_split(const char *equation, int most, char (*part)[IR_MAX_RANK + 2], int *out_operands,
                     bool *out_explicit)
{
    int p = 0;
    size_t n = 0;
    bool arrow = false;
    for (const char *c = equation; *c != '\0'; c++) {
        const bool separates = *c == ',' && !arrow, points = c[0] == '-' && c[1] == '>' && !arrow;
        if (*c == ' ') continue;
        if (separates || points) {
            part[p++][n] = '\0';
            n = 0;
            arrow = points;
            if (p > most || (separates && p == most)) return false;
            c += points;
            continue;
        }
        const bool ellipsis = c[0] == '.' && c[1] == '.' && c[2] == '.';
        if (ellipsis)
            c += 2;
        else if (!isalpha((unsigned char)*c))
            return false;
        if (n > IR_MAX_RANK || (ellipsis && memchr(part[p], '.', n) != NULL)) return false;
        part[p][n++] = ellipsis ? '.' : *c;
    }
    part[p][n] = '\0';
    *out_operands = arrow ? p : p + 1;
    *out_explicit = arrow;
    return true;
}

static bool has_twice(const char *letters)
{
    for (; *letters != '\0'; letters++) {
        if (strchr(letters + 1, *letters) != NULL) return true;
    }
    return false;
}

/* The three forms that Keras knows: no ellipsis, or one in front or one behind in input and output. */
static bool is_known_form(const char *input, const char *weight, const char *output)
{
    const char *in_dots = strchr(input, '.'), *out_dots = strchr(output, '.');
    if (weight[0] == '\0' || strlen(weight) > IR_MAX_RANK || strchr(weight, '.') != NULL ||
        (in_dots == NULL) != (out_dots == NULL))
        return false;
    if (in_dots == NULL) return input[0] != '\0' && output[0] != '\0';
    const bool front = in_dots == input && out_dots == output;
    const bool behind = in_dots[1] == '\0' && out_dots[1] == '\0' && in_dots > input && out_dots > output;
    return front || behind;
}

static bool read_equation(fe *f, fe_config *c, fe_einsum_dense *s)
{
    const json_at at = fe_key(c, "equation");
    const char *equation = NULL;
    char part[3][IR_MAX_RANK + 2];
    int operands = 0;
    bool arrow = false;
    if (!fe_config_text_or(c, "equation", NULL, &equation)) return false;
    if (equation == NULL) return fe_error(f, &at, "expected an equation, found none");
    if (!fe_einsum_split(equation, 2, part, &operands, &arrow) || operands != 2 || !arrow ||
        !is_known_form(part[0], part[1], part[2])) {
        return fe_error(f, &at, "expected an equation of the form X,Y->Z with one letter a dim, found \"%s\"",
                        equation);
    }
    if (has_twice(part[0]) || has_twice(part[1]) || has_twice(part[2])) {
        return fe_error(f, &at, "expected no letter twice in an operand, found \"%s\"", equation);
    }
    for (const char *letter = part[1]; *letter != '\0'; letter++) {
        if (strchr(part[0], *letter) == NULL && strchr(part[2], *letter) == NULL) {
            return fe_error(f, &at,
                            "expected every letter of the weight in the input or the output, found \"%s\"",
                            equation);
        }
    }
    for (const char *letter = part[2]; *letter != '\0'; letter++) {
        if (*letter != '.' && strchr(part[0], *letter) == NULL && strchr(part[1], *letter) == NULL) {
            return fe_error(f, &at, "expected every letter of the output in an operand, found \"%s\"",
                            equation);
        }
    }
    s->input = arena_strdup(f->arena, part[0]);
    s->weight = arena_strdup(f->arena, part[1]);
    s->output = arena_strdup(f->arena, part[2]);
    return true;
}

/* A list of sizes or nulls, or one size. */
static bool read_output_shape(fe *f, fe_config *c, fe_einsum_dense *s)
{
    const json_at at = fe_key(c, "output_shape");
    const cJSON *j = fe_config_item(c, "output_shape");
    if (j == NULL) return fe_error(f, &at, "expected the shape of the output, found none");
    for (const cJSON *item = cJSON_IsArray(j) ? j->child : j; item != NULL;
         item = cJSON_IsArray(j) ? item->next : NULL) {
        int64_t size = -1;
        if (!cJSON_IsNull(item) && (!fe_json_int(item, &size) || size < 1 || size > INT32_MAX)) {
            return fe_error(f, &at, "expected sizes of 1 .. %d, found %s", INT32_MAX, fe_json_show(f, item));
        }
        if (s->partial_count == IR_MAX_RANK)
            return fe_error(f, &at, "expected at most %d sizes", IR_MAX_RANK);
        s->partial[s->partial_count++] = size;
    }
    return true;
}

static bool read_bias_axes(fe *f, fe_config *c, fe_einsum_dense *s)
{
    const json_at at = fe_key(c, "bias_axes");
    if (!fe_config_text_or(c, "bias_axes", NULL, &s->bias_axes)) return false;
    if (s->bias_axes == NULL) return true;
    bool ok = s->bias_axes[0] != '\0';
    for (const char *letter = s->bias_axes; *letter != '\0'; letter++) {
        ok = ok && isalpha((unsigned char)*letter) && strchr(s->output, *letter) != NULL;
    }
    return ok ||
           fe_error(f, &at, "expected letters of the output \"%s\", found \"%s\"", s->output, s->bias_axes);
}

bool fe_read_einsum_dense(fe *f, fe_layer *layer, fe_config *c)
{
    fe_einsum_dense *s = arena_new(f->arena, fe_einsum_dense);
    layer->state = s;
    if (!read_equation(f, c, s) || !read_output_shape(f, c, s) || !read_bias_axes(f, c, s)) return false;
    bool ok = fe_activation_or_layer_read(c, layer, &s->activation);
    ok = fe_weight_config_read(c, "kernel", "glorot_uniform", &s->kernel) && ok;
    ok = fe_weight_config_read(c, "bias", "zeros", &s->bias) && ok;
    ok = ok && fe_lora_read(c, &s->kernel, true, &s->lora);
    return fe_config_done(c) && ok;
}

/* ---- call -------------------------------------------------------------------------------- */

/* The equation for one input rank: the ellipsis is written out with letters that occur nowhere else, and
 * every letter of the output has its size. */
typedef struct einsum {
    char input[IR_MAX_RANK + 1], output[2 * IR_MAX_RANK + 1];
    ir_dim output_dim[2 * IR_MAX_RANK];
    int elided; /* letters that an ellipsis behind stands for */
} einsum;

static bool expand_letters(const fe_einsum_dense *s, int rank, einsum *e)
{
    const char *dots = strchr(s->input, '.');
    const int given = (int)strlen(s->input) - (dots != NULL);
    const int elided = rank - given;
    char extra[IR_MAX_RANK + 1];
    int count = 0;
    if (elided < 0 || (dots == NULL && elided != 0)) return false;
    for (char c = 'A'; c <= 'z' && count < elided; c++) {
        if (!isalpha((unsigned char)c) || strchr(s->input, c) || strchr(s->weight, c) || strchr(s->output, c))
            continue;
        extra[count++] = c;
    }
    extra[count] = '\0';
    const bool front = dots == s->input;
    if ((int)strlen(s->output) - (dots != NULL) + elided > IR_MAX_RANK) return false;
    if (dots == NULL)
        strcpy(e->input, s->input), strcpy(e->output, s->output);
    else if (front)
        strcat(strcpy(e->input, extra), s->input + 1), strcat(strcpy(e->output, extra), s->output + 1);
    else {
        strncat(strcpy(e->input, ""), s->input, (size_t)(dots - s->input));
        strncat(strcpy(e->output, ""), s->output, strlen(s->output) - 1);
        strcat(e->input, extra), strcat(e->output, extra);
    }
    e->elided = dots != NULL && !front ? elided : 0;
    return true;
}

/* Sizes of the output's letters: those of the input's letters, else from the layer's output shape. */
static bool measure_output(fe_lower *l, fe_layer *layer, const fe_einsum_dense *s, const ir_type *t,
                           einsum *e)
{
    const int rank = (int)strlen(e->output);
    const int stated = rank - e->elided; /* output_shape speaks of the last of these dims */
    if (s->partial_count > stated) {
        return fe_layer_error(l->fe, layer, "expected at most %d sizes in output_shape, found %d", stated,
                              s->partial_count);
    }
    for (int d = 0; d < rank; d++) {
        const char *in = strchr(e->input, e->output[d]);
        const int at = d - (stated - s->partial_count);
        const int64_t size = d < stated && at >= 0 && at < s->partial_count ? s->partial[at] : -1;
        if (in != NULL) {
            e->output_dim[d] = t->dim[in - e->input];
            if (size > 0 && !ir_dim_equal(e->output_dim[d], ir_fixed(size))) {
                return fe_layer_error(l->fe, layer,
                                      "expected dim '%c' of size %lld as in output_shape, found %s",
                                      e->output[d], (long long)size, fe_shape_show(l->fe, t));
            }
        } else if (size > 0) {
            e->output_dim[d] = ir_fixed(size);
        } else {
            return fe_layer_error(l->fe, layer, "expected a size of dim '%c' in output_shape, found none",
                                  e->output[d]);
        }
    }
    return true;
}

static bool measure_weight(fe_lower *l, fe_layer *layer, const fe_einsum_dense *s, const ir_type *t,
                           const einsum *e, fe_shape *out)
{
    out->rank = (int)strlen(s->weight);
    for (int d = 0; d < out->rank; d++) {
        const char *in = strchr(e->input, s->weight[d]), *made = strchr(e->output, s->weight[d]);
        const ir_dim dim = made != NULL ? e->output_dim[made - e->output] : t->dim[in - e->input];
        if (dim.batch)
            return fe_layer_error(l->fe, layer, "expected a weight without the batch dim '%c'", s->weight[d]);
        out->dim[d] = dim.count;
    }
    return true;
}

static fe_shape measure_bias(const fe_einsum_dense *s, const einsum *e)
{
    size_t first = strlen(e->output);
    for (const char *c = s->bias_axes; *c != '\0'; c++) {
        const size_t at = (size_t)(strchr(e->output, *c) - e->output);
        first = at < first ? at : first;
    }
    fe_shape shape = {0};
    for (size_t d = first; e->output[d] != '\0'; d++) {
        const bool own = strchr(s->bias_axes, e->output[d]) != NULL;
        shape.dim[shape.rank++] = own ? e->output_dim[d].count : 1;
    }
    return shape;
}

/* Initializers that scale by the fans count them along the equation's axes: the weight's dims that are
 * contracted, and the others. */
static const ir_record *place_fans(fe *f, const ir_record *r, const fe_einsum_dense *s, const einsum *e)
{
    static const char *const scaling[] = {"variance_scaling", "glorot_uniform", "glorot_normal",
                                          "lecun_uniform",    "lecun_normal",   "he_uniform",
                                          "he_normal"};
    bool is_scaling = false;
    for (size_t i = 0; i < countof(scaling); i++) is_scaling = is_scaling || strcmp(r->name, scaling[i]) == 0;
    if (!is_scaling || ir_record_find(r, "input_axes") || ir_record_find(r, "output_axes")) return r;
    double in[IR_MAX_RANK], out[IR_MAX_RANK];
    int in_count = 0, out_count = 0;
    for (int d = 0; s->weight[d] != '\0'; d++) {
        if (strchr(e->output, s->weight[d]) != NULL)
            out[out_count++] = d;
        else
            in[in_count++] = d;
    }
    ir_record *made = ir_record_new(f->arena, r->name);
    for (size_t i = 0; i < r->count; i++)
        arena_push(f->arena, made->field, made->count, made->capacity, r->field[i]);
    ir_record_add_numbers(f->arena, made, "input_axes", in_count, arena_copy(f->arena, in, sizeof in));
    ir_record_add_numbers(f->arena, made, "output_axes", out_count, arena_copy(f->arena, out, sizeof out));
    return made;
}

static bool check_bias_dims(fe_lower *l, fe_layer *layer, const fe_einsum_dense *s, const einsum *e)
{
    for (const char *c = s->bias_axes; c != NULL && *c != '\0'; c++) {
        if (e->output_dim[strchr(e->output, *c) - e->output].batch) {
            return fe_layer_error(l->fe, layer, "expected a bias without the batch dim '%c'", *c);
        }
    }
    return true;
}

bool fe_call_einsum_dense(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const fe_einsum_dense *s = layer->state;
    fe_tensor x;
    einsum e;
    fe_shape shape;
    if (!fe_input_get(l, layer, args, 1, IR_MAX_RANK, &x)) return false;
    const ir_type t = fe_type(l, x.value);
    if (!expand_letters(s, t.rank, &e)) {
        return fe_layer_error(l->fe, layer, "expected an input that fits \"%s,%s->%s\", found %s", s->input,
                              s->weight, s->output, fe_shape_show(l->fe, &t));
    }
    if (!measure_output(l, layer, s, &t, &e) || !measure_weight(l, layer, s, &t, &e, &shape)) return false;
    const ir_type result = ir_type_make(t.dtype, (int)strlen(e.output), e.output_dim);
    if (!fe_size_check(l, layer, &result) || !check_bias_dims(l, layer, s, &e)) return false;
    fe_weight_config kernel_config = s->kernel;
    kernel_config.initializer = place_fans(l->fe, s->kernel.initializer, s, &e);
    ir_value kernel = fe_layer_weight(l, layer, "kernel", &kernel_config, shape), bias = IR_NONE;
    if (kernel == IR_NONE) return false;
    if (s->bias_axes != NULL) {
        bias = fe_layer_weight(l, layer, "bias", &s->bias, measure_bias(s, &e));
        if (bias == IR_NONE) return false;
    }
    kernel = fe_lora_add(l, layer, &s->lora, "kernel", &s->kernel, kernel);
    if (kernel == IR_NONE) return false;
    const ir_value operand[2] = {ir_build_convert(l->g, x.value, layer->compute_dtype), kernel};
    ir_value y = fe_einsum_build(l, e.input, s->weight, e.output, operand);
    if (bias != IR_NONE) y = ir_build_binary(l->g, OP_add, y, bias);
    return fe_activation_finish(l, layer, s->activation, y, out);
}
