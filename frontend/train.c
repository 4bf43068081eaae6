/* train.c: lowering of losses and metrics: ports of labels and sample weights, the loss of a batch, what
 * metrics accumulate, and the graph that turns accumulators into the numbers of the log. */
#include "frontend/ragged.h"
#include "frontend/train.h"

#include <stdlib.h>
#include <string.h>

/* ---- what the types of outputs decide --------------------------------------------------------------- */

static bool resolve_target(fe *f, fe_target *t)
{
    bool good = true;
    t->labels = LABELS_any;
    for (size_t i = 0; i < t->loss_count; i++) {
        good = fe_loss_resolve(f, &t->loss[i], &t->p) && good;
        fe_labels labels = t->loss[i].class != NULL ? t->loss[i].class->labels : LABELS_same;
        if (t->loss[i].by_data) labels = LABELS_either;
        if (t->labels != LABELS_any && t->labels != labels)
            return fe_error(f, t->loss[i].at, "expected losses of one output to take labels of one shape");
        t->labels = labels;
    }
    for (size_t i = 0; i < t->metric_count; i++) {
        if (t->labels == LABELS_any && t->metric[i].class != NULL) t->labels = t->metric[i].class->labels;
    }
    if (t->labels == LABELS_any) t->labels = LABELS_same;
    for (size_t i = 0; i < t->metric_count; i++)
        good = fe_metric_resolve(f, &t->metric[i], &t->p, t->labels) && good;
    return good;
}

static bool resolve(fe *f, fe_train *t, const fe_lower *l, const fe_tensor *output)
{
    bool good = true;
    size_t losses = 0;
    for (size_t i = 0; i < t->target_count; i++) {
        fe_target *target = &t->target[i];
        target->p = ir_type_with_dtype(*ir_type_of(l->g, output[i].value), DTYPE_f32);
        bool by_rows = target->p.rank > 0 && ir_dim_equal(target->p.dim[0], ir_batch(1));
        losses += target->loss_count;
        if (target->loss_count + target->metric_count == 0) continue;
        target->ragged = target->p.rank > 0 && target->p.dim[0].batch >= UNIT_values;
        if (target->ragged && output[i].mask != IR_NONE)
            good = fe_error(f, NULL, "output \"%s\" is ragged: losses with a mask are not supported; leave out mask_zero", target->name);
        else if (!by_rows && !target->ragged)
            good = fe_error(f, NULL,
                            "expected output \"%s\" to have one row for each row of the batch, found %s",
                            target->name, fe_shape_show(f, &target->p));
        else
            good = resolve_target(f, target) && (!target->ragged || fe_train_ragged_check(f, target)) && good;
    }
    if (losses == 0 && !t->own_losses) return fe_error(f, NULL, "expected a loss for at least one output, found none");
    t->has_trackers = f->keras2 ? t->target_count > 1 : losses > 1;
    t->resolved = good;
    return good;
}

/* ---- ports ------------------------------------------------------------------------------------------ */

/* The class that a loss ignores may stand among the labels. */
static void find_ignored(const fe_target *t, ir_port *port)
{
    for (size_t i = 0; i < t->loss_count; i++) {
        const ir_field *ignored = ir_record_find(t->loss[i].settings, "ignore_class");
        if (ignored == NULL) continue;
        port->has_ignored = true;
        port->ignored = (int64_t)ignored->number;
    }
}

static void add_label_port(fe *f, fe_target *t)
{
    ir_port port = {.name = t->name, .kind = PORT_y, .type = t->p};
    port.indexed = t->labels == LABELS_either;
    if (t->labels == LABELS_sparse || t->labels == LABELS_sequence || t->labels == LABELS_group) {
        port.type = ir_type_with_dtype(t->p, DTYPE_i32);
        port.type.rank--;
        if (t->labels != LABELS_group) port.classes = t->p.dim[t->p.rank - 1].count;
        port.padded = t->labels == LABELS_sequence;
        find_ignored(t, &port);
    }
    if (t->ragged) fe_train_ragged_port(t, &port);
    t->y_port = ir_module_add_port(f->module, port);
}

static ir_value get_weight(fe_lower *l, fe_target *t, const ir_type *shape)
{
    if (t->weight_port < 0) {
        ir_port port = {
            .name = t->name, .kind = PORT_sample_weight, .type = ir_type_with_dtype(*shape, DTYPE_f32)};
        t->weight_port = ir_module_add_port(l->fe->module, port);
    }
    return ir_build_parameter(l->g, t->weight_port);
}

/* ---- labels ----------------------------------------------------------------------------------------- */

/* Labels of the target as a loss or metric wants them; IR_NONE when they are of another kind. */
static ir_value convert_labels(fe_lower *l, const fe_target *t, fe_labels wanted)
{
    ir_value y = ir_build_parameter(l->g, t->y_port);
    if (t->labels == LABELS_either && wanted == LABELS_sparse) return ir_build_arg_reduce(l->g, "maximum", y, t->p.rank - 1);
    if (t->labels == LABELS_either && wanted != LABELS_sequence) return y;
    if (wanted == t->labels || (wanted == LABELS_any && t->labels != LABELS_sequence)) return y;
    const ir_dim last = t->p.dim[t->p.rank - 1];
    if (wanted != LABELS_same || t->labels != LABELS_sparse || last.batch || last.count != 1) return IR_NONE;
    return ir_build_reshape(l->g, ir_build_convert(l->g, y, DTYPE_f32), t->p.rank, t->p.dim);
}

static fe_values make_values(fe_lower *l, const fe_tensor *output, ir_value y, const ir_record *settings)
{
    ir_value p = ir_build_convert(l->g, output->value, DTYPE_f32);
    return (fe_values){.l = l,
                       .g = l->g,
                       .settings = settings,
                       .y = y,
                       .p = p,
                       .logits = fe_logits_find(l, p),
                       .mask = IR_NONE};
}

/* ---- losses ----------------------------------------------------------------------------------------- */

static int make_accumulator(fe *f, const char *path)
{
    ir_module *m = f->module;
    for (size_t i = 0; i < m->variable_count; i++) {
        if (m->variable[i].role == ROLE_metric && strcmp(m->variable[i].path, path) == 0) return (int)i;
    }
    char *name = arena_strdup(f->arena, path);
    for (char *c = name; *c != '\0'; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        if (!plain) *c = '_';
    }
    ir_variable v = {.name = name,
                     .path = path,
                     .type = ir_type_scalar(DTYPE_f32),
                     .role = ROLE_metric,
                     .initializer = ir_record_new(f->arena, "zeros")};
    return ir_module_add_variable(m, v);
}

static const char *tracker_path(fe *f, const char *key, const char *part)
{
    return arena_printf(f->arena, "losses/%s/%s", key, part);
}

/* value counts `count` times in the mean that the log shows as `key`. */
static void track(fe_lower *l, const char *key, ir_value value, ir_value count)
{
    const ir_value part[2] = {ir_build_binary(l->g, OP_multiply, value, count), count};
    static const char *const name[2] = {"total", "count"};
    for (int i = 0; i < 2; i++) {
        int variable = make_accumulator(l->fe, tracker_path(l->fe, key, name[i]));
        fe_variable_assign(l, variable,
                           ir_build_binary(l->g, OP_add, fe_variable_read(l, variable), part[i]));
    }
}

static const char *tracker_key(fe *f, const fe_target *t)
{
    return arena_printf(f->arena, "%s_loss", t->loss_name);
}

/* Of the accumulators: outputs of one layer share a key in the log, not these. */
static const char *tracker_slot(fe *f, const fe_target *t) { return arena_printf(f->arena, "%s_loss", t->name); }

/* The last of the losses with one key is in the log. */
static bool is_shown(const fe_train *train, size_t index)
{
    const fe_target *t = train->target;
    for (size_t i = index + 1; i < train->target_count; i++) {
        if (t[i].loss_count > 0 && strcmp(t[i].loss_name, t[index].loss_name) == 0) return false;
    }
    return t[index].loss_count > 0;
}

static ir_value count_rows(fe_lower *l)
{
    for (size_t i = 0; i < l->fe->module->port_count; i++) {
        const ir_type *t = &l->fe->module->port[i].type;
        if (t->rank > 0 && ir_dim_equal(t->dim[0], ir_batch(1)))
            return ir_build_convert(l->g, ir_build_dimension_size(l->g, ir_build_parameter(l->g, (int)i), 0),
                                    DTYPE_f32);
    }
    bug("a model without inputs");
}

/* A loss that is one number for the whole batch counts for each of its rows, or for each step of the mask. Its sum is left alone:
 * weights that are not given look like ones here, and they would count the rows. */
static ir_value spread_number(fe_lower *l, const fe_loss *loss, ir_value values, ir_value mask)
{
    ir_type shape = {.dtype = DTYPE_f32, .rank = 1, .dim = {ir_batch(1)}};
    if (mask != IR_NONE)
        shape = ir_type_with_dtype(*ir_type_of(l->g, mask), DTYPE_f32);
    else if (loss->reduction != REDUCTION_mean)
        return values;
    return ir_build_broadcast_to(l->g, values, &shape);
}

/* The sample weights of a loss's values; IR_NONE where it takes none. False after a message. */
static bool find_weight(fe_lower *l, fe_target *t, const fe_loss *loss, ir_value values, ir_value *out)
{
    const ir_type shape = *ir_type_of(l->g, values), rows = ir_type_make(DTYPE_f32, 1, (ir_dim[]){ir_batch(1)});
    *out = IR_NONE;
    if (t->ragged) {
        *out = fe_ragged_spread(l, get_weight(l, t, &rows), values);
        return true;
    }
    if (t->weight_port >= 0 && !ir_type_same_shape(&shape, &l->fe->module->port[t->weight_port].type))
        return fe_error(l->fe, loss->at, "expected losses of one output to have values of one shape");
    if (ir_dim_equal(shape.dim[0], ir_batch(1))) *out = get_weight(l, t, &shape);
    return true;
}

/* Keras 3 on TensorFlow counts every batch alike in the losses of single outputs, unless it runs eagerly; Keras 2
 * counts it by its rows. */
static bool lower_loss(fe_lower *l, const fe_train *train, fe_target *t, size_t index,
                       const fe_tensor *output, ir_value *total)
{
    const fe_loss *loss = &t->loss[index];
    ir_value y = convert_labels(l, t, loss->class->labels), weight = IR_NONE, value;
    bug_if(y == IR_NONE, "labels of output %s do not fit its loss", t->name);
    fe_values v = make_values(l, output, y, loss->settings);
    ir_value values = loss->class->build(&v);
    const bool is_number = ir_type_of(l->g, values)->rank == 0;
    if (is_number) values = spread_number(l, loss, values, output->mask);
    const bool is_weighted = ir_type_of(l->g, values)->rank > 0 && !(is_number && output->mask != IR_NONE);
    if (is_weighted && !find_weight(l, t, loss, values, &weight)) return false;
    if (!fe_loss_reduce(l, loss, &v, values, output->mask, weight, &value)) return false;
    if (train->has_trackers && index + 1 == t->loss_count)
        track(l, tracker_slot(l->fe, t), value,
              l->fe->keras2 || train->eager ? count_rows(l) : ir_build_scalar(l->g, DTYPE_f32, 1));
    if (loss->weight != 1) value = ir_build_binary_scalar(l->g, OP_multiply, value, loss->weight);
    *total = *total == IR_NONE ? value : ir_build_binary(l->g, OP_add, *total, value);
    return true;
}

static bool lower_losses(fe_lower *l, const fe_train *train, const fe_tensor *output)
{
    ir_value total = IR_NONE;
    for (size_t i = 0; i < train->target_count; i++) {
        fe_target *t = &train->target[i];
        for (size_t k = 0; k < t->loss_count; k++) {
            if (!lower_loss(l, train, t, k, &output[i], &total)) return false;
        }
    }
    for (size_t i = 0; i < l->loss_count; i++) {
        ir_value own = ir_build_convert(l->g, l->loss[i], DTYPE_f32);
        total = total == IR_NONE ? own : ir_build_binary(l->g, OP_add, total, own);
    }
    if (total == IR_NONE) total = ir_build_scalar(l->g, DTYPE_f32, 0);
    track(l, "loss", total, count_rows(l));
    ir_graph_add_output(l->g, "loss", total);
    if (l->training) l->g->loss = total;
    return true;
}

/* ---- metrics ---------------------------------------------------------------------------------------- */

/* Sample weights must have the first dims of the predictions to be spread over them. */
static bool check_weight(fe_lower *l, const fe_metric *metric, const ir_type *weight, const ir_type *p)
{
    bool fits = weight->rank <= p->rank;
    for (int i = 0; fits && i < weight->rank; i++) fits = ir_dim_equal(weight->dim[i], p->dim[i]);
    if (fits) return true;
    return fe_metric_error(l->fe, metric, "expected sample weights for the first dims of %s, found %s",
                           fe_shape_show(l->fe, p), fe_shape_show(l->fe, weight));
}

static bool lower_metric(fe_lower *l, fe_target *t, const fe_metric *metric, const fe_tensor *output)
{
    ir_value y = convert_labels(l, t, metric->class->labels), weight = IR_NONE;
    if (y == IR_NONE)
        return fe_metric_error(l->fe, metric,
                               t->labels == LABELS_same
                                   ? "expected class indices as labels, found labels like the predictions"
                                   : "expected labels like the predictions, found class indices");
    if (metric->weighted) {
        const ir_type rows = ir_type_make(DTYPE_f32, 1, t->p.dim);
        weight = get_weight(l, t, &rows);
        if (!check_weight(l, metric, ir_type_of(l->g, weight), &t->p)) return false;
    }
    fe_metric_call c = {.fe = l->fe,
                        .l = l,
                        .g = l->g,
                        .metric = metric,
                        .settings = metric->settings,
                        .values = make_values(l, output, y, metric->settings),
                        .p_mask = output->mask,
                        .weight = weight};
    return metric->class->update(&c);
}

static bool lower_metrics(fe_lower *l, const fe_train *train, const fe_tensor *output)
{
    for (size_t i = 0; i < train->target_count; i++) {
        fe_target *t = &train->target[i];
        for (size_t k = 0; k < t->metric_count; k++) {
            if (!lower_metric(l, t, &t->metric[k], &output[i])) return false;
        }
    }
    return true;
}

bool fe_train_lower(fe_lower *l, fe_train *t, fe_model *m, const fe_tensor *output)
{
    (void)m;
    fe *f = l->fe;
    const char *file = f->diag->file;
    f->layer = NULL;
    f->diag->file = t->file;
    l->g->origin = ir_module_add_origin(f->module, "$.compile_config", "training");
    bool good = t->resolved || resolve(f, t, l, output);
    for (size_t i = 0; good && i < t->target_count; i++) {
        fe_target *target = &t->target[i];
        if (target->y_port < 0 && target->loss_count + target->metric_count > 0) add_label_port(f, target);
    }
    good = good && lower_losses(l, t, output) && lower_metrics(l, t, output);
    f->diag->file = file;
    return good;
}

/* ---- graph `metrics` -------------------------------------------------------------------------------- */

typedef struct result {
    const char *key;
    ir_value value;
} result;

static int compare_results(const void *a, const void *b)
{
    return strcmp(((const result *)a)->key, ((const result *)b)->key);
}

static ir_value read_tracker(fe *f, ir_graph *g, const char *key)
{
    ir_value total = ir_build_variable(g, make_accumulator(f, tracker_path(f, key, "total")));
    return fe_math_divide_no_nan(g, total,
                                 ir_build_variable(g, make_accumulator(f, tracker_path(f, key, "count"))));
}

static size_t build_results(fe *f, ir_graph *g, const fe_train *train, result *out)
{
    size_t count = 0;
    out[count++] = (result){"loss", read_tracker(f, g, "loss")};
    for (size_t i = 0; i < train->target_count; i++) {
        const fe_target *t = &train->target[i];
        if (train->has_trackers && is_shown(train, i))
            out[count++] = (result){tracker_key(f, t), read_tracker(f, g, tracker_slot(f, t))};
        for (size_t k = 0; k < t->metric_count; k++) {
            const fe_metric *metric = &t->metric[k];
            fe_metric_call c = {.fe = f, .g = g, .metric = metric, .settings = metric->settings};
            out[count++] = (result){metric->key, metric->class->result(&c)};
        }
    }
    return count;
}

/* Keras's log is sorted by key. */
bool fe_train_metrics(fe *f, fe_train *t, fe_model *m)
{
    (void)m;
    size_t most = 1 + t->target_count;
    for (size_t i = 0; i < t->target_count; i++) most += t->target[i].metric_count;
    ir_graph *g = ir_module_add_graph(f->module, "metrics");
    result *results = arena_array(f->arena, result, most);
    size_t count = build_results(f, g, t, results);
    qsort(results, count, sizeof *results, compare_results);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(results[i].key, results[i - 1].key) != 0)
            ir_graph_add_output(g, results[i].key, results[i].value);
    }
    return true;
}
