/* train_ragged.c: losses and metrics of an output that keeps ragged rows, [V,...]. As in Keras 2 a loss is the mean over the
 * values of all rows of the batch, each with its row's sample weight, and a metric looks at values alone. */
#include "frontend/ragged.h"
#include "frontend/train.h"

#include <string.h>

/* The losses for which Keras 2 has a rule for ragged tensors: all with a value for each place along the last axis. */
static const char *const losses[] = {
    "mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_logarithmic_error",
    "huber", "binary_crossentropy", "binary_focal_crossentropy", "categorical_crossentropy",
    "categorical_focal_crossentropy", "sparse_categorical_crossentropy",
};

/* Metrics that Keras 2 computes from the values of ragged tensors. It gives them a last axis of size 1, so that what
 * compares the classes along that axis sees one class alone and is left out. */
static const char *const metrics[] = {
    "MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredLogarithmicError",
    "RootMeanSquaredError", "LogCoshError", "Hinge", "SquaredHinge", "Poisson", "Accuracy", "BinaryAccuracy",
    "BinaryCrossentropy", "SparseCategoricalAccuracy", "SparseTopKCategoricalAccuracy", "SparseCategoricalCrossentropy",
    "TruePositives", "FalsePositives", "TrueNegatives", "FalseNegatives", "Precision", "Recall",
    "SensitivityAtSpecificity", "SpecificityAtSensitivity", "PrecisionAtRecall", "RecallAtPrecision", "AUC",
    "IoU", "BinaryIoU", "MeanIoU", "mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error", "binary_crossentropy", "sparse_categorical_crossentropy",
};

static bool is_listed(const char *name, size_t count, const char *const *list)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i], name) == 0) return true;
    }
    return false;
}

static bool check_metric(fe *f, const fe_metric *metric)
{
    const ir_record *s = metric->settings;
    if (!is_listed(metric->class->name, countof(metrics), metrics))
        return fe_metric_error(f, metric, "%s of ragged rows is not supported, since Keras 2 does not compare the classes of "
                               "their values; leave it out, or pad the rows", metric->class->name);
    if (ir_record_find(s, "top_k") || ir_record_find(s, "class_id") || ir_record_number(s, "multi_label", 0) != 0)
        return fe_metric_error(f, metric, "top_k, class_id and multi_label are not supported for ragged rows");
    if (metric->weighted)
        return fe_metric_error(f, metric, "weighted metrics of ragged rows are not supported; name it under \"metrics\"");
    return true;
}

bool fe_train_ragged_check(fe *f, const fe_target *t)
{
    if (t->p.rank != 2)
        return fe_error(f, NULL, "output \"%s\" is ragged: expected values with one dim of fixed size, as Dense gives, found %s",
                        t->name, fe_shape_show(f, &t->p));
    for (size_t i = 0; i < t->loss_count; i++) {
        const fe_loss *loss = &t->loss[i];
        if (!is_listed(loss->class->function, countof(losses), losses))
            return fe_error(f, loss->at, "loss %s has no rule for ragged rows, in Keras 2 as well; expected a mean error, Huber or a "
                            "crossentropy, or pool the rows first", loss->class->class);
    }
    for (size_t i = 0; i < t->metric_count; i++) {
        if (!check_metric(f, &t->metric[i])) return false;
    }
    return true;
}

void fe_train_ragged_port(const fe_target *t, ir_port *port)
{
    port->ragged = 1 + t->p.dim[0].batch - UNIT_values;
    port->part = RAGGED_values;
}

