/* convert.h: element types: conversion, byte order, checks of values. */
#ifndef RT_CONVERT_H
#define RT_CONVERT_H

#include "rt.h"

void convert_swap_bytes(void *elements, uint64_t count, size_t size);

/* The first element that `to` cannot hold: a number that is not whole or out of range for an integer type.
 * UINT64_MAX when all were converted. Floats are rounded to nearest; to bool: non-zero is true. */
uint64_t convert_elements(void *to, uint32_t to_dtype, const void *from, uint32_t from_dtype, uint64_t count);

double convert_get(const void *elements, uint32_t dtype, uint64_t index);
void convert_fill(void *elements, uint32_t dtype, uint64_t count, double value);

#endif
