/* The scans of `message.py` and `wire.py` that every message pays for, in C (docs/decisions/0021).
 *
 * Each function here answers only what is written the usual way and returns None for all else; the Python function of the same
 * purpose then decides, refuses and explains. What is answered here, that function answers alike: tests/native holds the two
 * together, message by message. Nothing here keeps state, and nothing is read beyond the length of the bytes handed in.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <string.h>

#define MAX_HEAD_BYTES 16384 /* as in message.py */
#define MAX_LINES 256
#define MAX_NAME 32     /* octets of a header name we know */
#define BUCKETS 256     /* of the table of names; a power of two */
#define MAX_NAMES 120   /* in it: never more than half full */
#define MAX_CODE 31     /* header codes are bits of an int */

typedef struct {
    const char *at;
    Py_ssize_t size;
} Span;

/* ---- octets ------------------------------------------------------------------------------------------------------------------ */

static const char *find_octet(const char *from, const char *end, char wanted) {
    return from < end ? memchr(from, wanted, (size_t)(end - from)) : NULL;
}

static const char *find_last(const char *from, const char *end, char wanted) {
    return from < end ? memrchr(from, wanted, (size_t)(end - from)) : NULL;
}

static const char *find_text(const char *from, const char *end, const char *wanted, size_t size) {
    return from < end ? memmem(from, (size_t)(end - from), wanted, size) : NULL;
}

static bool begins(const char *from, const char *end, const char *wanted, size_t size) {
    return end - from >= (Py_ssize_t)size && memcmp(from, wanted, size) == 0;
}
#define FIND(from, end, text) find_text(from, end, text, sizeof(text) - 1)
#define BEGINS(from, end, text) begins(from, end, text, sizeof(text) - 1)

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_blank(char c) { return c == ' ' || c == '\t'; }

/* RFC 3261 §25.1, token. */
static bool is_token(char c) { return is_alpha(c) || is_digit(c) || (c != '\0' && strchr("-.!%*_+`'~", c) != NULL); }

/* What stands in a parameter's value without quotes: visible, and nothing that ends it (grammar.py, _VALUE). */
static bool is_value(char c) { return c > ' ' && c < 0x7f && strchr("\",;<>", c) == NULL; }

/* A number of 1 to `most` digits that fills [from, end); -1 otherwise. */
static long number_in(const char *from, const char *end, int most) {
    long number = 0;
    if (from >= end || end - from > most) return -1;
    for (; from < end; from++) {
        if (!is_digit(*from)) return -1;
        number = number * 10 + (*from - '0');
    }
    return number;
}

/* Whether [from, end) holds a NUL, or a CR or LF outside a CRLF. */
static bool has_bare_control(const char *from, const char *end) {
    if (memchr(from, '\0', (size_t)(end - from)) != NULL) return true;
    const char *at = from, *feed;
    while ((feed = find_octet(at, end, '\n')) != NULL) {
        if (feed == from || feed[-1] != '\r') return true;
        if (find_octet(at, feed - 1, '\r') != NULL) return true;
        at = feed + 1;
    }
    return find_octet(at, end, '\r') != NULL;
}

static PyObject *bytes_of(const char *from, const char *end) { return PyBytes_FromStringAndSize(from, end - from); }

/* ---- the light pass over a response ------------------------------------------------------------------------------------------ */

/* A value on one line: [from, *stop) begins at `from`; false if the line is folded or does not end in the head. */
static bool line_end(const char *from, const char *end, const char *whole_end, const char **stop) {
    const char *cr = FIND(from, whole_end, "\r\n");
    if (cr == NULL || cr > end) return false;
    *stop = cr;
    return cr == end || !is_blank(cr[2]);
}

static PyObject *light_response(PyObject *module, PyObject *argument) {
    (void)module;
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(argument, &data, &size) < 0) return NULL;
    const char *whole_end = data + size, *end = FIND(data, whole_end, "\r\n\r\n");
    if (end == NULL || end - data > MAX_HEAD_BYTES || !BEGINS(data, end, "SIP/2.0 ") || end - data < 12) Py_RETURN_NONE;
    const char *first = FIND(data, end, "\r\n");
    long status = number_in(data + 8, data + 11, 3);
    if (first == NULL || status < 100 || status > 699 || data[11] != ' ') Py_RETURN_NONE;
    const char *via = first + 2, *via_end;
    if (!BEGINS(via, end, "Via: SIP/2.0/") || !line_end(via, end, whole_end, &via_end) || via_end == end) Py_RETURN_NONE;
    const char *comma = find_octet(via, via_end, ','), *top_end = comma != NULL ? comma : via_end;
    const char *branch = FIND(via, top_end, ";branch=");
    if (branch == NULL || find_octet(via, top_end, '"') != NULL) Py_RETURN_NONE;
    branch += 8;
    const char *branch_end = find_octet(branch, top_end, ';');
    if (branch_end == NULL) branch_end = top_end;
    if (find_octet(branch, branch_end, ' ') != NULL || has_bare_control(data, end)) Py_RETURN_NONE;

    const char *cseq = FIND(via_end, end, "\r\nCSeq: "), *cseq_end;
    if (cseq == NULL) Py_RETURN_NONE;
    cseq += 8;
    if (!line_end(cseq, end, whole_end, &cseq_end)) Py_RETURN_NONE;
    const char *gap = find_octet(cseq, cseq_end, ' ');
    if (gap == NULL || gap + 1 == cseq_end || number_in(cseq, gap, 9) < 0) Py_RETURN_NONE;
    for (const char *c = gap + 1; c < cseq_end; c++)
        if (*c < 'A' || *c > 'Z') Py_RETURN_NONE;

    const char *length = FIND(via_end, end, "\r\nContent-Length: "), *length_end;
    if (length == NULL) Py_RETURN_NONE;
    length += 18;
    if (!line_end(length, end, whole_end, &length_end)) Py_RETURN_NONE;
    while (length < length_end && *length == ' ') length++;
    if (number_in(length, length_end, 5) != whole_end - end - 4) Py_RETURN_NONE;

    Py_ssize_t cut_from = via - data, cut_to = via_end + 2 - data; /* the whole line … */
    if (comma != NULL) {                                           /* … or the first of its hops */
        cut_from += 5;
        cut_to = comma + 1 - data + (comma[1] == ' ');
    }
    PyObject *branch_bytes = bytes_of(branch, branch_end), *method = bytes_of(gap + 1, cseq_end);
    if (branch_bytes == NULL || method == NULL) {
        Py_XDECREF(branch_bytes);
        Py_XDECREF(method);
        return NULL;
    }
    return Py_BuildValue("(lNNnn)", status, branch_bytes, method, cut_from, cut_to);
}

/* ---- the top Via of a request -------------------------------------------------------------------------------------------------- */

static PyObject *usual_via(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    char *line;
    Py_ssize_t size, source_size;
    if (count != 3) return PyErr_Format(PyExc_TypeError, "usual_via(line, source_host, source_port)");
    if (PyBytes_AsStringAndSize(args[0], &line, &size) < 0) return NULL;
    const char *source = PyUnicode_AsUTF8AndSize(args[1], &source_size);
    long source_port = PyLong_AsLong(args[2]);
    if (source == NULL || (source_port == -1 && PyErr_Occurred())) return NULL;
    const char *end = line + size;
    if (!BEGINS(line, end, "Via: SIP/2.0/UDP ") && !BEGINS(line, end, "Via: SIP/2.0/TCP ")) Py_RETURN_NONE;
    const char *host = line + 17, *at = host;
    while (at < end && (is_digit(*at) || *at == '.')) at++;
    if (at - host < 7 || at - host > 15 || at - host != source_size || memcmp(host, source, (size_t)source_size) != 0)
        Py_RETURN_NONE;
    long port = 5060;
    if (at < end && *at == ':') {
        const char *digits = at + 1;
        for (at = digits; at < end && is_digit(*at); at++) {}
        if ((port = number_in(digits, at, 5)) < 1 || port > 65535 || *digits == '0') Py_RETURN_NONE;
    }
    const char *sent_by_end = at;
    if (!BEGINS(at, end, ";branch=z9hG4bK")) Py_RETURN_NONE;
    const char *branch = at + 8;
    for (at = branch + 7; at < end && *at != ';'; at++)
        if (!is_value(*at)) Py_RETURN_NONE;
    if (at == branch + 7) Py_RETURN_NONE;
    bool asks_rport = at < end;
    if (asks_rport && !(end - at == 6 && memcmp(at, ";rport", 6) == 0)) Py_RETURN_NONE;

    PyObject *key = PyBytes_FromStringAndSize(NULL, (at - branch) + 1 + (sent_by_end - host));
    if (key == NULL) return NULL;
    char *into = PyBytes_AS_STRING(key);
    memcpy(into, branch, (size_t)(at - branch));
    into[at - branch] = '|';
    memcpy(into + (at - branch) + 1, host, (size_t)(sent_by_end - host));
    PyObject *filled;
    if (!asks_rport) {
        filled = Py_NewRef(args[0]);
    } else {
        port = source_port;
        char received[64];
        int added = snprintf(received, sizeof(received), ";received=%.*s;rport=%ld", (int)source_size, source, source_port);
        filled = PyBytes_FromStringAndSize(NULL, (at - line) + added);
        if (filled != NULL) {
            memcpy(PyBytes_AS_STRING(filled), line, (size_t)(at - line));
            memcpy(PyBytes_AS_STRING(filled) + (at - line), received, (size_t)added);
        }
    }
    if (filled == NULL) {
        Py_DECREF(key);
        return NULL;
    }
    return Py_BuildValue("(NNl)", key, filled, port);
}

/* ---- the tag of a From or To line ---------------------------------------------------------------------------------------------- */

static PyObject *usual_tag(PyObject *module, PyObject *argument) {
    (void)module;
    char *line;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(argument, &line, &size) < 0) return NULL;
    const char *end = line + size, *bracket = find_last(line, end, '>');
    if (bracket == NULL) Py_RETURN_NONE;
    const char *at = bracket + 1;
    if (at == end) return bytes_of(at, at);
    if (!BEGINS(at, end, ";tag=") || find_octet(at, end, '"') != NULL) Py_RETURN_NONE;
    at += 5;
    const char *stop = find_octet(at, end, ';');
    if (stop == NULL) stop = end;
    for (const char *c = at; c < stop; c++)
        if (is_blank(*c) || *c == '\r' || *c == '\n') Py_RETURN_NONE;
    return bytes_of(at, stop);
}

/* ---- the index of a whole message ---------------------------------------------------------------------------------------------- */

typedef struct {
    unsigned char size;
    signed char code;
    char name[MAX_NAME];
} Name;

typedef struct {
    PyObject_HEAD
    Name exact[BUCKETS];   /* names as spelt */
    Name lower[BUCKETS];   /* the same in lower case */
    unsigned long singles; /* bit 1 << code: may stand once */
    int content_length;    /* its code */
    PyObject *numbers[MAX_LINES];
    PyObject *codes[MAX_CODE + 1];
} Scanner;

static unsigned hash_of(const char *name, Py_ssize_t size) {
    unsigned hash = (unsigned)size;
    for (Py_ssize_t i = 0; i < size; i++) hash = hash * 31u + (unsigned char)name[i];
    return (hash ^ hash >> 8) & (BUCKETS - 1);
}

static int code_in(const Name *table, const char *name, Py_ssize_t size) {
    for (unsigned at = hash_of(name, size); table[at].size != 0; at = (at + 1) & (BUCKETS - 1))
        if (table[at].size == size && memcmp(table[at].name, name, (size_t)size) == 0) return table[at].code;
    return -1;
}

static int learn(Name *table, PyObject *names) {
    PyObject *name, *code;
    Py_ssize_t place = 0;
    if (!PyDict_Check(names) || PyDict_GET_SIZE(names) > MAX_NAMES) {
        PyErr_Format(PyExc_ValueError, "names are a dict of at most %d", MAX_NAMES);
        return -1;
    }
    while (PyDict_Next(names, &place, &name, &code)) {
        char *text;
        Py_ssize_t size;
        long number = PyLong_AsLong(code);
        if (PyBytes_AsStringAndSize(name, &text, &size) < 0 || (number == -1 && PyErr_Occurred())) return -1;
        if (size < 1 || size > MAX_NAME || number < 0 || number > MAX_CODE) {
            PyErr_Format(PyExc_ValueError, "a name of 1 to %d octets with a code of 0 to %d", MAX_NAME, MAX_CODE);
            return -1;
        }
        unsigned at = hash_of(text, size);
        while (table[at].size != 0) at = (at + 1) & (BUCKETS - 1);
        table[at].size = (unsigned char)size;
        table[at].code = (signed char)number;
        memcpy(table[at].name, text, (size_t)size);
    }
    return 0;
}

/* Header code of [from, colon): 0 for a name routing never reads, -1 if it is no token. */
static int header_code(const Scanner *self, const char *from, const char *colon) {
    int code = code_in(self->exact, from, colon - from);
    if (code >= 0) return code;
    while (colon > from && is_blank(colon[-1])) colon--;
    if (colon == from) return -1;
    char lower[MAX_NAME];
    Py_ssize_t size = colon - from;
    for (Py_ssize_t i = 0; i < size; i++) {
        if (!is_token(from[i])) return -1;
        if (i < MAX_NAME) lower[i] = from[i] >= 'A' && from[i] <= 'Z' ? (char)(from[i] | 0x20) : from[i];
    }
    if (size > MAX_NAME) return 0;
    code = code_in(self->lower, lower, size);
    return code < 0 ? 0 : code;
}

/* Method, Request-URI and status of a start line; false for anything unusual. */
static bool start_line(Span line, Span *method, Span *uri, long *status) {
    const char *from = line.at, *end = from + line.size;
    *method = *uri = (Span){from, 0};
    *status = 0;
    if (BEGINS(from, end, "SIP/2.0 ")) {
        *status = end - from >= 11 ? number_in(from + 8, from + 11, 3) : -1;
        return *status >= 100 && *status <= 699 && (end - from == 11 || from[11] == ' ');
    }
    const char *gap = find_octet(from, end, ' ');
    if (gap == NULL || gap == from || end - gap < 10) return false;
    for (const char *c = from; c < gap; c++)
        if (!is_alpha(*c)) return false;
    const char *second = find_octet(gap + 1, end, ' ');
    if (second == NULL || second == gap + 1 || !(end - second == 8 && memcmp(second, " SIP/2.0", 8) == 0)) return false;
    *method = (Span){from, gap - from};
    *uri = (Span){gap + 1, second - gap - 1};
    return true;
}

/* Fills `lines`, `at` and `repeated` from [from, end); 1: done, 0: unusual, -1: an exception. */
static int read_lines(Scanner *self, const char *from, const char *end, PyObject *lines, PyObject *at, unsigned long *repeated,
                      Span *length) {
    unsigned long seen = 0;
    for (int number = 0; from < end + 2; number++) {
        const char *cr = FIND(from, end, "\r\n");
        if (cr == NULL) cr = end;
        const char *colon = find_octet(from, cr, ':');
        if (number >= MAX_LINES || colon == NULL || colon == from || is_blank(*from)) return 0;
        int code = header_code(self, from, colon);
        if (code < 0) return 0;
        if (code > 0) {
            unsigned long bit = 1ul << code;
            if (!(seen & bit)) {
                seen |= bit;
                if (PyDict_SetItem(at, self->codes[code], self->numbers[number]) < 0) return -1;
                if (code == self->content_length) *length = (Span){colon + 1, cr - colon - 1};
            } else if (self->singles & bit || code == self->content_length) {
                return 0;
            } else {
                *repeated |= bit;
            }
        }
        PyObject *line = bytes_of(from, cr);
        if (line == NULL) return -1;
        int failed = PyList_Append(lines, line);
        Py_DECREF(line);
        if (failed < 0) return -1;
        from = cr + 2;
    }
    return 1;
}

/* Where the body ends: as Content-Length says, or with the data when it is silent; NULL if it is malformed or too long. */
static const char *body_end(Span length, const char *body, const char *whole_end) {
    if (length.at == NULL) return whole_end;
    const char *from = length.at, *end = from + length.size;
    while (from < end && is_blank(*from)) from++;
    while (end > from && is_blank(end[-1])) end--;
    long number = number_in(from, end, 9);
    return number < 0 || number > whole_end - body ? NULL : body + number;
}

static PyObject *scanner_head(Scanner *self, PyObject *argument) {
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(argument, &data, &size) < 0) return NULL;
    const char *whole_end = data + size, *end = FIND(data, whole_end, "\r\n\r\n");
    if (end == NULL || end - data > MAX_HEAD_BYTES || has_bare_control(data, end)) Py_RETURN_NONE;
    const char *first = FIND(data, end, "\r\n");
    if (first == NULL) Py_RETURN_NONE;
    Span method, uri, length = {NULL, 0};
    long status;
    if (!start_line((Span){data, first - data}, &method, &uri, &status)) Py_RETURN_NONE;
    PyObject *lines = PyList_New(0), *at = PyDict_New();
    unsigned long repeated = 0;
    int done = lines != NULL && at != NULL ? read_lines(self, first + 2, end, lines, at, &repeated, &length) : -1;
    const char *stop = done == 1 ? body_end(length, end + 4, whole_end) : NULL;
    if (stop == NULL) {
        Py_XDECREF(lines);
        Py_XDECREF(at);
        if (done < 0) return NULL;
        Py_RETURN_NONE;
    }
    return Py_BuildValue("(y#y#y#lNNky#)", data, first - data, method.at, method.size, uri.at, uri.size, status, lines, at,
                         repeated, end + 4, stop - end - 4);
}

static PyObject *scanner_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    PyObject *exact, *lower, *singles;
    int content_length;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "OOOi:Scanner", &exact, &lower, &singles, &content_length)) return NULL;
    Scanner *self = (Scanner *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->content_length = content_length;
    if (learn(self->exact, exact) < 0 || learn(self->lower, lower) < 0) goto failed;
    PyObject *codes = PySequence_Fast(singles, "singles are a sequence of codes");
    if (codes == NULL) goto failed;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(codes); i++) {
        long code = PyLong_AsLong(PySequence_Fast_GET_ITEM(codes, i));
        if (code < 0 || code > MAX_CODE) {
            if (!PyErr_Occurred()) PyErr_Format(PyExc_ValueError, "a code is 0 to %d", MAX_CODE);
            Py_DECREF(codes);
            goto failed;
        }
        self->singles |= 1ul << code;
    }
    Py_DECREF(codes);
    for (int i = 0; i < MAX_LINES; i++)
        if ((self->numbers[i] = PyLong_FromLong(i)) == NULL) goto failed;
    for (int i = 0; i <= MAX_CODE; i++)
        if ((self->codes[i] = PyLong_FromLong(i)) == NULL) goto failed;
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

static void scanner_dealloc(Scanner *self) {
    for (int i = 0; i < MAX_LINES; i++) Py_XDECREF(self->numbers[i]);
    for (int i = 0; i <= MAX_CODE; i++) Py_XDECREF(self->codes[i]);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef scanner_methods[] = {
    {"head", (PyCFunction)scanner_head, METH_O, "Index one message: (start, method, uri, status, lines, at, repeated, body) or None."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject scanner_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "sipctl.sip._scan.Scanner",
    .tp_doc = "Scanner(exact, lower, singles, content_length): indexes messages by the header names it was given.",
    .tp_basicsize = sizeof(Scanner),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = scanner_new,
    .tp_dealloc = (destructor)scanner_dealloc,
    .tp_methods = scanner_methods,
};

static PyMethodDef functions[] = {
    {"light_response", light_response, METH_O, "message.light_response, of what is written the usual way."},
    {"usual_via", (PyCFunction)(void (*)(void))usual_via, METH_FASTCALL, "wire.read_upstream: (key, line, port) or None."},
    {"usual_tag", usual_tag, METH_O, "message.tag_of, or None."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "sipctl.sip._scan", .m_doc = "Scans of the call path in C.", .m_size = 0, .m_methods = functions,
};

PyMODINIT_FUNC PyInit__scan(void) {
    if (PyType_Ready(&scanner_type) < 0) return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL) return NULL;
    if (PyModule_AddObjectRef(module, "Scanner", (PyObject *)&scanner_type) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
