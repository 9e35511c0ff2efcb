/* One UDP socket of IPv4, read and written without the detours of the socket module (docs/decisions/0021).
 *
 * `datagrams.py` is the same in Python and says what each method promises. An address read is one tuple for as long as its peer
 * keeps sending: peers are few, messages many.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define MAX_DATAGRAM_BYTES 65535
#define PEERS 256 /* addresses kept as tuples; a power of two */

typedef struct {
    PyObject_HEAD
    int fd;
    in_addr_t hosts[PEERS];
    in_port_t ports[PEERS];
    PyObject *addresses[PEERS];
    char buffer[MAX_DATAGRAM_BYTES];
} Datagrams;

/* The tuple (host, port) of a peer; a new reference. */
static PyObject *address_of(Datagrams *self, const struct sockaddr_in *peer) {
    in_addr_t host = peer->sin_addr.s_addr;
    unsigned at = (host ^ host >> 8 ^ host >> 24 ^ peer->sin_port ^ peer->sin_port >> 8) & (PEERS - 1);
    if (self->addresses[at] != NULL && self->hosts[at] == host && self->ports[at] == peer->sin_port)
        return Py_NewRef(self->addresses[at]);
    char text[INET_ADDRSTRLEN];
    if (inet_ntop(AF_INET, &peer->sin_addr, text, sizeof(text)) == NULL) return PyErr_SetFromErrno(PyExc_OSError);
    PyObject *address = Py_BuildValue("(si)", text, (int)ntohs(peer->sin_port));
    if (address == NULL) return NULL;
    Py_XDECREF(self->addresses[at]);
    self->addresses[at] = Py_NewRef(address);
    self->hosts[at] = host;
    self->ports[at] = peer->sin_port;
    return address;
}

static PyObject *receive(Datagrams *self, PyObject *unused) {
    (void)unused;
    struct sockaddr_in peer = {0};
    socklen_t size = sizeof(peer);
    ssize_t got = recvfrom(self->fd, self->buffer, MAX_DATAGRAM_BYTES, MSG_DONTWAIT, (struct sockaddr *)&peer, &size);
    if (got < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) Py_RETURN_NONE;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    PyObject *data = PyBytes_FromStringAndSize(self->buffer, got), *address = address_of(self, &peer);
    PyObject *pair = data != NULL && address != NULL ? PyTuple_Pack(2, data, address) : NULL;
    Py_XDECREF(data);
    Py_XDECREF(address);
    return pair;
}

static PyObject *send_to(Datagrams *self, PyObject *const *args, Py_ssize_t count) {
    char *data;
    Py_ssize_t size;
    if (count != 2 || !PyTuple_Check(args[1]) || PyTuple_GET_SIZE(args[1]) != 2)
        return PyErr_Format(PyExc_TypeError, "send(data, (host, port))");
    if (PyBytes_AsStringAndSize(args[0], &data, &size) < 0) return NULL;
    const char *host = PyUnicode_AsUTF8(PyTuple_GET_ITEM(args[1], 0));
    long port = PyLong_AsLong(PyTuple_GET_ITEM(args[1], 1));
    if (host == NULL || (port == -1 && PyErr_Occurred())) return NULL;
    struct sockaddr_in peer = {.sin_family = AF_INET};
    if (port < 0 || port > 65535 || inet_pton(AF_INET, host, &peer.sin_addr) != 1)
        return PyErr_Format(PyExc_ValueError, "%s port %ld is no address of IPv4", host, port);
    peer.sin_port = htons((in_port_t)port);
    ssize_t sent = sendto(self->fd, data, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&peer, sizeof(peer));
    if (sent < 0) return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *datagrams_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    int fd;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "i:Datagrams", &fd)) return NULL;
    Datagrams *self = (Datagrams *)type->tp_alloc(type, 0);
    if (self != NULL) self->fd = fd;
    return (PyObject *)self;
}

static void datagrams_dealloc(Datagrams *self) {
    for (int i = 0; i < PEERS; i++) Py_XDECREF(self->addresses[i]);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef methods[] = {
    {"receive", (PyCFunction)receive, METH_NOARGS, "The next datagram: (data, (host, port)), or None."},
    {"send", (PyCFunction)(void (*)(void))send_to, METH_FASTCALL, "Send one datagram: send(data, (host, port))."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject datagrams_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "sipctl.engine.embedded._datagrams.Datagrams",
    .tp_doc = "Datagrams(fd): reads and writes one UDP socket of IPv4, which stays its owner's.",
    .tp_basicsize = sizeof(Datagrams),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = datagrams_new,
    .tp_dealloc = (destructor)datagrams_dealloc,
    .tp_methods = methods,
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "sipctl.engine.embedded._datagrams", .m_doc = "A UDP socket in C.", .m_size = 0,
};

PyMODINIT_FUNC PyInit__datagrams(void) {
    if (PyType_Ready(&datagrams_type) < 0) return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL) return NULL;
    if (PyModule_AddObjectRef(module, "Datagrams", (PyObject *)&datagrams_type) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
