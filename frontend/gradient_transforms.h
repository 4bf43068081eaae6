/* gradient_transforms.h: what reading the transforms of gradients takes. */
#ifndef TFCC_FRONTEND_GRADIENT_TRANSFORMS_H
#define TFCC_FRONTEND_GRADIENT_TRANSFORMS_H

#include "frontend/train.h"

/* A copy of the optimizer's record with "gradient_transforms" and "gradient_aggregator" in it, as the configuration or
 * the command line has them. NULL after a diagnostic. */
const ir_record *fe_gradient_transforms_read(fe_config *c, const ir_record *optimizer);

/* Lowers the model of a JSON file, once for each of the variables, to graphs "gradient_transform_NUMBER_VARIABLE"
 * (gradient_model.c). Its weights become state of the optimizer. */
bool fe_gradient_model_add(fe *f, const char *path, const json_at *at, int number, const ir_field *variables);

#endif
