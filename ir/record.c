/* record.c: trees of named settings. */
#include "ir/ir.h"

#include <string.h>

ir_record *ir_record_new(arena *a, const char *name)
{
    ir_record *r = arena_new(a, ir_record);
    r->name = arena_strdup(a, name);
    return r;
}

static void add_field(arena *a, ir_record *r, const char *key, ir_field field)
{
    field.key = arena_strdup(a, key);
    arena_push(a, r->field, r->count, r->capacity, field);
}

void ir_record_add_number(arena *a, ir_record *r, const char *key, double number)
{
    add_field(a, r, key, (ir_field){.kind = FIELD_NUMBER, .number = number});
}

void ir_record_add_numbers(arena *a, ir_record *r, const char *key, int count,
                           const double *numbers)
{
    const double *copy = arena_copy(a, numbers, (size_t)count * sizeof *numbers);
    add_field(a, r, key, (ir_field){.kind = FIELD_NUMBERS, .count = count, .numbers = copy});
}

void ir_record_add_text(arena *a, ir_record *r, const char *key, const char *value)
{
    add_field(a, r, key, (ir_field){.kind = FIELD_TEXT, .text = arena_strdup(a, value)});
}

void ir_record_add_record(arena *a, ir_record *r, const char *key, const ir_record *record)
{
    add_field(a, r, key, (ir_field){.kind = FIELD_RECORD, .record = record});
}

void ir_record_remove(ir_record *r, const char *key)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->field[i].key, key) != 0) r->field[kept++] = r->field[i];
    }
    r->count = kept;
}

const ir_field *ir_record_find(const ir_record *r, const char *key)
{
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->field[i].key, key) == 0) return &r->field[i];
    }
    return NULL;
}

double ir_record_number(const ir_record *r, const char *key, double otherwise)
{
    const ir_field *f = ir_record_find(r, key);
    return f && f->kind == FIELD_NUMBER ? f->number : otherwise;
}

const char *ir_record_text(const ir_record *r, const char *key, const char *otherwise)
{
    const ir_field *f = ir_record_find(r, key);
    return f && f->kind == FIELD_TEXT ? f->text : otherwise;
}

const ir_record *ir_record_record(const ir_record *r, const char *key)
{
    const ir_field *f = ir_record_find(r, key);
    return f && f->kind == FIELD_RECORD ? f->record : NULL;
}
