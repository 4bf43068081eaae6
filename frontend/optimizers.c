/* optimizers.c: an optimizer of a compile configuration as a record: its settings with Keras's defaults, and
 * a learning rate that is a number or the record of a schedule. */
#include "frontend/train.h"

#include <string.h>
#include <strings.h>

typedef struct optimizer {
    const char *name, *fields, *rate, *refusal;
} optimizer;

static const optimizer optimizers[] = {
#define OPTIMIZER(name, fields, rate) {#name, fields, rate, NULL},
#define REFUSED(name, reason) {#name, "", "", reason},
#define SCHEDULE(name, fields)
#include "frontend/optimizers.def"
};

static const struct {
    const char *name, *fields;
} schedules[] = {
#define OPTIMIZER(name, fields, rate)
#define REFUSED(name, reason)
#define SCHEDULE(name, fields) {#name, fields},
#include "frontend/optimizers.def"
};

static const char common_fields[] =
    "f:weight_decay f:clipnorm f:global_clipnorm f:clipvalue b:use_ema=0 "
    "f:ema_momentum=0.99[0,1] i:ema_overwrite_frequency[1,1e15] f:loss_scale_factor[1e-30,1e30] "
    "i:gradient_accumulation_steps[2,1e15]";

static const optimizer *find_optimizer(fe *f, const fe_named *named)
{
    const char *known[countof(optimizers)];
    for (size_t i = 0; i < countof(optimizers); i++) {
        if (strcasecmp(optimizers[i].name, named->name) == 0) return &optimizers[i];
        known[i] = optimizers[i].name;
    }
    const char *near = fe_nearest(named->name, countof(known), known);
    fe_error(f, named->at,
             near != NULL ? "unknown optimizer \"%s\"; did you mean \"%s\"?" : "unknown optimizer \"%s\"",
             named->name, near);
    return NULL;
}

/* Every field without a default must be there; what a step divides by must be positive. */
static bool check_schedule(fe *f, const ir_record *r, const char *fields, const json_at *at)
{
    static const char *const divisors[] = {"decay_steps", "first_decay_steps", "t_mul"};
    static const char *const needed[] = {"initial_learning_rate", "decay_rate", "decay_steps",
                                         "first_decay_steps",     "boundaries", "values"};
    for (size_t i = 0; i < countof(needed); i++) {
        const json_at field = {.up = at, .key = needed[i]};
        if (strstr(fields, arena_printf(f->arena, ":%s", needed[i])) != NULL &&
            ir_record_find(r, needed[i]) == NULL)
            return fe_error(f, &field, "expected a number, found nothing");
    }
    for (size_t i = 0; i < countof(divisors); i++) {
        const json_at field = {.up = at, .key = divisors[i]};
        if (ir_record_find(r, divisors[i]) != NULL && ir_record_number(r, divisors[i], 0) <= 0)
            return fe_error(f, &field, "expected a positive number, found %g",
                            ir_record_number(r, divisors[i], 0));
    }
    const ir_field *boundaries = ir_record_find(r, "boundaries"), *values = ir_record_find(r, "values");
    if (boundaries != NULL && values->count != boundaries->count + 1)
        return fe_error(f, at, "expected one boundary less than values, found %d and %d", boundaries->count,
                        values->count);
    for (int i = 0; boundaries != NULL && i < boundaries->count; i++) {
        if (boundaries->numbers[i] < -1e15 || boundaries->numbers[i] > 1e15)
            return fe_error(f, at, "expected boundaries up to 1e15, found %g", boundaries->numbers[i]);
    }
    return true;
}

static const ir_record *read_schedule(fe *f, const cJSON *j, const json_at *at)
{
    fe_named named;
    if (!fe_named_read(f, j, at, &named)) return NULL;
    for (size_t i = 0; i < countof(schedules); i++) {
        if (strcmp(schedules[i].name, named.name) != 0) continue;
        ir_record *r = ir_record_new(f->arena, fe_snake_case(f, named.name));
        fe_config c;
        fe_config_init(&c, f, named.config, at, "config");
        fe_config_ignore(&c, "name");
        bool good = fe_fields_read(&c, schedules[i].fields, r);
        return fe_config_done(&c) && good && check_schedule(f, r, schedules[i].fields, &c.at) ? r : NULL;
    }
    fe_error(f, at, "expected a learning rate schedule of Keras, found \"%s\"", named.name);
    return NULL;
}

/* Keras 2's "decay": rate / (1 + decay * step). */
static bool read_decay(fe_config *c, const char *spec, double decay, ir_record *r)
{
    ir_record *plain = ir_record_new(c->fe->arena, "rate"),
              *schedule = ir_record_new(c->fe->arena, "inverse_time_decay");
    if (!fe_fields_read(c, spec, plain)) return false;
    ir_record_add_number(c->fe->arena, schedule, "initial_learning_rate",
                         ir_record_number(plain, "learning_rate", 0));
    ir_record_add_number(c->fe->arena, schedule, "decay_steps", 1);
    ir_record_add_number(c->fe->arena, schedule, "decay_rate", decay);
    ir_record_add_number(c->fe->arena, schedule, "staircase", 0);
    ir_record_add_record(c->fe->arena, r, "learning_rate", schedule);
    return true;
}

/* has_decay: Keras 2's field "decay" slows the rate; the legacy Nadam writes it for something else. */
static bool read_rate(fe_config *c, const char *spec, bool has_decay, ir_record *r)
{
    const cJSON *j = fe_config_item(c, "learning_rate");
    const json_at decay_at = {.up = &c->at, .key = "decay"};
    double decay = 0;
    if (c->fe->keras2 && !fe_config_number_or(c, "decay", 0, &decay)) return false;
    if (!has_decay) decay = 0;
    if (decay != 0 && cJSON_IsObject(j))
        return fe_error(c->fe, &decay_at, "expected no decay beside a learning rate schedule, found %g",
                        decay);
    if (decay < 0)
        return fe_error(c->fe, &decay_at, "expected a number that is not negative, found %g", decay);
    if (decay > 0) return read_decay(c, spec, decay, r);
    if (!cJSON_IsObject(j)) return fe_fields_read(c, spec, r);
    const json_at at = {.up = &c->at, .key = "learning_rate"};
    const ir_record *schedule = read_schedule(c->fe, j, &at);
    if (schedule != NULL) ir_record_add_record(c->fe->arena, r, "learning_rate", schedule);
    return schedule != NULL;
}

static bool check_clipping(fe *f, const ir_record *r, const json_at *at)
{
    int given = (ir_record_find(r, "clipnorm") != NULL) + (ir_record_find(r, "clipvalue") != NULL) +
                (ir_record_find(r, "global_clipnorm") != NULL);
    return given <= 1 ||
           fe_error(f, at, "expected one of clipnorm, clipvalue and global_clipnorm, found %d of them",
                    given);
}

/* What differs in Keras 2; `legacy`: the optimizers of TensorFlow 2.10 and older. */
static bool read_keras2(fe *f, const cJSON *j, const optimizer *o, const json_at *at, ir_record *r)
{
    const cJSON *module = cJSON_GetObjectItemCaseSensitive(j, "module");
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(j, "config");
    bool legacy = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(config, "is_legacy_optimizer")) ||
                  cJSON_GetObjectItemCaseSensitive(config, "decay") ||
                  (cJSON_IsString(module) && strstr(module->valuestring, "legacy"));
    ir_record_add_number(f->arena, r, "keras2", 1);
    if (!legacy) return true;
    if (strcmp(o->name, "Nadam") == 0) { /* it reads its schedule_decay from no file */
        ir_record_add_number(f->arena, r, "schedule_decay", 0.004);
        if (ir_record_record(r, "learning_rate"))
            return fe_error(f, at, "expected a number as the learning rate of the legacy Nadam, found a schedule");
    }
    bool outside = strcmp(o->name, "Adagrad") == 0 ||
                   (strcmp(o->name, "RMSprop") == 0 && ir_record_number(r, "momentum", 0) == 0);
    if (outside) ir_record_add_number(f->arena, r, "epsilon_outside", 1);
    return true;
}

ir_record *fe_optimizer_read(fe *f, const cJSON *j, const json_at *at)
{
    fe_named named;
    if (!fe_named_read(f, j, at, &named)) return NULL;
    if (fe_loss_scale_is(named.name)) return fe_loss_scale_read(f, &named);
    const optimizer *o = find_optimizer(f, &named);
    if (o == NULL) return NULL;
    if (o->refusal != NULL) {
        fe_error(f, at, "optimizer %s: %s", o->name, o->refusal);
        return NULL;
    }
    if (strcmp(o->name, "MultiOptimizer") == 0) return fe_multi_optimizer_read(f, &named);
    const char *snake = fe_snake_case(f, o->name), *name;
    ir_record *r = ir_record_new(f->arena, snake);
    fe_config c;
    fe_config_init(&c, f, named.config, at, "config");
    if (f->keras2 && fe_config_has(&c, "lr")) c.keras2_class = "OldOptimizer";
    fe_config_ignore(&c, "jit_compile is_legacy_optimizer");
    bool good = fe_config_text_or(&c, "name", snake, &name);
    if (good) ir_record_add_text(f->arena, r, "name", name);
    good = read_rate(&c, o->rate, strcmp(o->name, "Nadam") != 0, r) && good;
    good = fe_fields_read(&c, o->fields, r) && good;
    good = fe_fields_read(&c, common_fields, r) && good;
    if (strcmp(o->name, "Muon") == 0) good = fe_muon_read(&c, r) && good;
    if (strcmp(o->name, "AdamW") == 0 && ir_record_find(r, "weight_decay") == NULL)
        ir_record_add_number(f->arena, r, "weight_decay", 0.004);
    good = check_clipping(f, r, &c.at) && good;
    good = (!f->keras2 || read_keras2(f, j, o, at, r)) && good;
    return fe_config_done(&c) && good ? r : NULL;
}

const char *fe_optimizer_class(fe *f, const ir_record *r)
{
    for (size_t i = 0; i < countof(optimizers); i++) {
        if (strcmp(fe_snake_case(f, optimizers[i].name), r->name) == 0) return optimizers[i].name;
    }
    return r->name;
}
