/* h5.c: see h5.h. The HDF5 library is loaded by a child process, which sends three texts back through a pipe;
 * so a damaged file can neither crash nor stop the compiler, and tfcc starts without the library. */
#include "frontend/h5.h"

#include <dlfcn.h>
#include <errno.h>
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_TEXT_BYTES = 64 << 20, MOST_SECONDS = 60, NOT_HDF5 = 1, NO_LIBRARY = 2, TEXTS = 3 };
static const size_t most_file_bytes = (size_t)4 << 30, most_child_bytes = (size_t)4 << 30;
static const char *const attributes[TEXTS] = {"keras_version", "model_config", "training_config"};

bool fe_h5_is(const char *path) { return text_file_starts(path, "\211HDF\r\n\032\n", 8); }

/* ---- in the child ------------------------------------------------------------------------------------- */

#define FUNCTIONS(X)                                                                                         \
    X(herr_t, H5open, (void))                                                                                \
    X(herr_t, H5dont_atexit, (void))                                                                         \
    X(herr_t, H5Eset_auto2, (hid_t, H5E_auto2_t, void *))                                                    \
    X(hid_t, H5Fopen, (const char *, unsigned, hid_t))                                                       \
    X(hid_t, H5Oopen, (hid_t, const char *, hid_t))                                                          \
    X(htri_t, H5Aexists, (hid_t, const char *))                                                              \
    X(hid_t, H5Aopen, (hid_t, const char *, hid_t))                                                          \
    X(hid_t, H5Aget_type, (hid_t))                                                                           \
    X(hid_t, H5Aget_space, (hid_t))                                                                          \
    X(herr_t, H5Aread, (hid_t, hid_t, void *))                                                               \
    X(int, H5Sget_simple_extent_ndims, (hid_t))                                                              \
    X(H5T_class_t, H5Tget_class, (hid_t))                                                                    \
    X(htri_t, H5Tis_variable_str, (hid_t))                                                                   \
    X(size_t, H5Tget_size, (hid_t))

typedef struct library {
#define MEMBER(result, name, parameters) result(*name) parameters;
    FUNCTIONS(MEMBER)
#undef MEMBER
} library;

static void *open_library(void)
{
    static const char *const names[] = {
#ifdef TFCC_HDF5_LIBRARY
        TFCC_HDF5_LIBRARY, /* what the build found */
#endif
        "libhdf5_serial.so.103", "libhdf5.so.103", "libhdf5.so.200", "libhdf5.so.310", "libhdf5.so"};
    void *opened = NULL;
    for (size_t i = 0; !opened && i < countof(names); i++) opened = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return opened;
}

/* dlsym's result as what it points to; C has no cast from an object to a function pointer. */
static bool find_symbol(void *opened, const char *name, void *out_address)
{
    void *address = dlsym(opened, name);
    memcpy(out_address, &address, sizeof address);
    return address != NULL;
}

static bool load_library(library *h)
{
    void *opened = open_library();
    if (!opened) return false;
#define FIND(result, name, parameters)                                                                       \
    if (!find_symbol(opened, #name, &h->name)) return false;
    FUNCTIONS(FIND)
#undef FIND
    h->H5dont_atexit();
    if (h->H5open() < 0) return false;
    h->H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    return true;
}

static bool write_all(int to, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t done = write(to, at, size);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return false;
        at += done;
        size -= (size_t)done;
    }
    return true;
}

/* A text attribute of the root, of fixed or variable length; NULL when it is absent or no text. */
static char *read_attribute(const library *h, hid_t root, const char *name)
{
    if (h->H5Aexists(root, name) <= 0) return NULL;
    hid_t attribute = h->H5Aopen(root, name, H5P_DEFAULT);
    hid_t type = attribute < 0 ? -1 : h->H5Aget_type(attribute);
    hid_t space = attribute < 0 ? -1 : h->H5Aget_space(attribute);
    if (type < 0 || h->H5Tget_class(type) != H5T_STRING || h->H5Sget_simple_extent_ndims(space) != 0)
        return NULL;
    size_t size = h->H5Tget_size(type);
    if (h->H5Tis_variable_str(type) > 0) {
        char *string = NULL;
        return h->H5Aread(attribute, type, &string) < 0 ? NULL : string;
    }
    char *string = size < MOST_TEXT_BYTES ? calloc(1, size + 1) : NULL;
    return string && h->H5Aread(attribute, type, string) >= 0 ? string : NULL;
}

/* Sends for each attribute its length (all ones: it is absent) and its bytes. */
static int run_child(const char *path, int to)
{
    const struct rlimit none = {0, 0}, memory = {most_child_bytes, most_child_bytes};
    library h;
    setrlimit(RLIMIT_CORE, &none);
    setrlimit(RLIMIT_AS, &memory);
    alarm(MOST_SECONDS);
    if (!load_library(&h)) return NO_LIBRARY;
    hid_t file = h.H5Fopen(path, 0, H5P_DEFAULT);
    hid_t root = file < 0 ? -1 : h.H5Oopen(file, "/", H5P_DEFAULT);
    if (root < 0) return NOT_HDF5;
    for (int i = 0; i < TEXTS; i++) {
        const char *string = read_attribute(&h, root, attributes[i]);
        uint64_t length = string ? strlen(string) : UINT64_MAX;
        if (string && length > MOST_TEXT_BYTES) return NOT_HDF5;
        if (!write_all(to, &length, sizeof length)) return NOT_HDF5;
        if (string && !write_all(to, string, (size_t)length)) return NOT_HDF5;
    }
    return 0;
}

/* ---- in the compiler ---------------------------------------------------------------------------------- */

static void receive(int from, text *out)
{
    char bytes[1 << 16];
    for (;;) {
        ssize_t got = read(from, bytes, sizeof bytes);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0 || out->length > (size_t)TEXTS * (MOST_TEXT_BYTES + sizeof(uint64_t))) return;
        text_put(out, bytes, (size_t)got);
    }
}

/* The child's answer in *out; its exit status, or -1 when it did not end by itself. */
static bool ask_child(fe *f, const char *path, text *out, int *out_status)
{
    int ends[2], status = 0;
    if (pipe(ends) != 0) return diag_failed(f->diag, NULL, "cannot make a pipe: %s", strerror(errno));
    fflush(stdout);
    fflush(stderr);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        _exit(run_child(path, ends[1]));
    }
    close(ends[1]);
    if (child > 0) receive(ends[0], out);
    close(ends[0]);
    if (child < 0) return diag_failed(f->diag, NULL, "cannot start a process: %s", strerror(errno));
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR)
            return diag_failed(f->diag, NULL, "cannot wait for a process: %s", strerror(errno));
    }
    *out_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return true;
}

/* The next text of the answer; NULL when the attribute is absent. */
static bool take_text(fe *f, const text *answer, size_t *at, char **out)
{
    uint64_t length;
    *out = NULL;
    if (answer->length - *at < sizeof length) return false;
    memcpy(&length, answer->data + *at, sizeof length);
    *at += sizeof length;
    if (length == UINT64_MAX) return true;
    if (length > answer->length - *at) return false;
    *out = arena_strndup(f->arena, answer->data + *at, (size_t)length);
    *at += (size_t)length;
    return true;
}

static bool read_texts(fe *f, const char *path, char **out)
{
    text answer = {0};
    size_t at = 0;
    int status = 0;
    bool ok = ask_child(f, path, &answer, &status);
    if (ok && status == NO_LIBRARY)
        ok = diag_failed(f->diag, NULL,
                         "HDF5 files need the HDF5 library: install Debian's libhdf5-103 (or hdf5)");
    else if (ok && status < 0)
        ok = diag_error(f->diag, NULL, "damaged: the HDF5 library fails on this file");
    else if (ok && status != 0)
        ok = diag_error(f->diag, NULL, "expected an HDF5 file, found one that is damaged");
    for (int i = 0; ok && i < TEXTS; i++) {
        if (!take_text(f, &answer, &at, &out[i]))
            ok = diag_error(f->diag, NULL, "damaged: it ends too early");
    }
    text_done(&answer);
    return ok;
}

static bool read_bytes(fe *f, const char *path, fe_archive *out)
{
    text t = {0};
    bool ok = text_read_file(&t, path, most_file_bytes);
    if (!ok) diag_error(f->diag, NULL, "cannot be read: %s", strerror(errno));
    if (ok) out->weights = arena_copy(f->arena, t.data, t.length);
    if (ok) out->weights_size = t.length;
    text_done(&t);
    return ok;
}

bool fe_h5_read(fe *f, const char *path, fe_archive *out)
{
    char *found[TEXTS];
    *out = (fe_archive){0};
    if (!read_texts(f, path, found) || !read_bytes(f, path, out)) return false;
    const char *config = found[1] ? found[1] + strspn(found[1], " \t\r\n") : NULL;
    if (!config) {
        return diag_error(f->diag, NULL,
                          "expected a whole model, found HDF5 without \"model_config\": a file of weights "
                          "goes to --weights, "
                          "beside the JSON of model.to_json()");
    }
    if (*config != '{') return diag_error(f->diag, "model_config", "expected a JSON object");
    text t = {0};
    text_add(&t, "{");
    if (found[0]) {
        text_add(&t, "\"keras_version\": ");
        text_add_quoted(&t, found[0]);
        text_add(&t, ", ");
    }
    if (found[2]) text_add(&t, "\"compile_config\": %s, ", found[2]);
    text_put(&t, config + 1, strlen(config + 1));
    out->config = arena_strndup(f->arena, text_get(&t), t.length);
    out->config_size = t.length;
    text_done(&t);
    return true;
}

/* ---- the training configuration ------------------------------------------------------------------------ */

static cJSON *make_text(fe *f, const char *string)
{
    cJSON *item = arena_new(f->arena, cJSON);
    item->type = cJSON_String;
    item->valuestring = arena_strdup(f->arena, string);
    return item;
}

static void put_member(cJSON *object, cJSON *item, const char *key)
{
    item->string = (char *)(uintptr_t)key;
    item->next = NULL;
    item->prev = object->child ? object->child->prev : item;
    if (object->child)
        object->child->prev->next = item;
    else
        object->child = item;
    object->child->prev = item;
}

static void drop_member(cJSON *object, cJSON *item)
{
    if (item->next)
        item->next->prev = item->prev;
    else
        object->child->prev = item->prev;
    if (object->child == item)
        object->child = item->next;
    else
        item->prev->next = item->next;
}

/* "categorical_accuracy" -> "CategoricalAccuracy" */
static char *make_class(fe *f, const char *function)
{
    char *name = arena_strdup(f->arena, function), *to = name;
    bool first = true;
    for (const char *c = function; *c; c++) {
        if (*c != '_') *to++ = (char)(first && *c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
        first = *c == '_';
    }
    *to = '\0';
    return name;
}

/* Objects that name their function ("fn") are those of the class that Keras 3 has for it. */
static void adapt_object(fe *f, cJSON *object, const char *module)
{
    cJSON *name = cJSON_GetObjectItemCaseSensitive(object, "class_name");
    cJSON *config = cJSON_GetObjectItemCaseSensitive(object, "config");
    cJSON *function = cJSON_GetObjectItemCaseSensitive(config, "fn");
    if (cJSON_IsString(name) && strncmp(name->valuestring, "Custom>", 7) == 0) name->valuestring += 7;
    if (cJSON_IsString(name) && cJSON_IsString(function)) {
        if (strcmp(name->valuestring, "MeanMetricWrapper") == 0)
            name->valuestring = make_class(f, function->valuestring);
        drop_member(config, function);
    }
    if (!cJSON_IsString(name) || !cJSON_IsObject(config) ||
        cJSON_GetObjectItemCaseSensitive(object, "module"))
        return;
    cJSON *none = arena_new(f->arena, cJSON);
    none->type = cJSON_NULL;
    put_member(object, make_text(f, module), "module");
    put_member(object, none, "registered_name");
}

static void adapt_all(fe *f, cJSON *j, const char *module)
{
    if (cJSON_IsObject(j) && cJSON_GetObjectItemCaseSensitive(j, "class_name")) {
        adapt_object(f, j, module);
        return;
    }
    for (cJSON *item = cJSON_IsArray(j) || cJSON_IsObject(j) ? j->child : NULL; item; item = item->next)
        adapt_all(f, item, module);
}

void fe_h5_training_adapt(fe *f, cJSON *root)
{
    static const char *const parts[][2] = {{"optimizer_config", "keras.optimizers"},
                                           {"loss", "keras.losses"},
                                           {"metrics", "keras.metrics"},
                                           {"weighted_metrics", "keras.metrics"}};
    cJSON *training = cJSON_GetObjectItemCaseSensitive(root, "compile_config");
    for (size_t i = 0; i < countof(parts); i++) {
        cJSON *part = cJSON_GetObjectItemCaseSensitive(training, parts[i][0]);
        if (!part) continue;
        adapt_all(f, part, parts[i][1]);
        if (i == 0) part->string = arena_strdup(f->arena, "optimizer");
    }
}
