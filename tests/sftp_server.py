"""An SFTP server for tests, by paramiko: one folder, one user with a password."""

import os
import socket
import threading
from contextlib import contextmanager

import paramiko

USER, PASSWORD = "reader", "SECRETPASSWORD"


class Account(paramiko.ServerInterface):
    def check_auth_password(self, username, password):
        is_right = (username, password) == (USER, PASSWORD)
        return paramiko.AUTH_SUCCESSFUL if is_right else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username):
        return "password"

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED


class Handle(paramiko.SFTPHandle):
    def stat(self):
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))


class Files(paramiko.SFTPServerInterface):
    root = ""

    def _path(self, path):
        return self.root + self.canonicalize(path)

    def _try(self, function, *arguments):
        try:
            function(*arguments)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        return paramiko.SFTP_OK

    def list_folder(self, path):
        found = []
        for entry in os.scandir(self._path(path)):
            one = paramiko.SFTPAttributes.from_stat(entry.stat())
            one.filename = entry.name
            found.append(one)
        return found

    def stat(self, path):
        try:
            return paramiko.SFTPAttributes.from_stat(os.stat(self._path(path)))
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    lstat = stat

    def open(self, path, flags, attr):
        try:
            descriptor = os.open(self._path(path), flags | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        handle = Handle(flags)
        mode = "rb" if flags & (os.O_WRONLY | os.O_RDWR) == 0 else "wb"
        handle.readfile = handle.writefile = os.fdopen(descriptor, mode)
        return handle

    def remove(self, path):
        return self._try(os.remove, self._path(path))

    def rename(self, old, new):
        if os.path.exists(self._path(new)):  # as the protocol has it
            return paramiko.SFTP_FAILURE
        return self._try(os.rename, self._path(old), self._path(new))

    def posix_rename(self, old, new):
        return self._try(os.replace, self._path(old), self._path(new))

    def mkdir(self, path, attr):
        return self._try(os.mkdir, self._path(path))


@contextmanager
def sftp_server(folder, known_hosts):
    """Serve a folder; yields `HOST:PORT`, and writes the host key to a file of known hosts."""
    files = type("FilesOf", (Files,), {"root": str(folder)})
    key = paramiko.RSAKey.generate(2048)
    listener = socket.create_server(("127.0.0.1", 0))
    transports = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, files)
            transports.append(transport)
            try:
                transport.start_server(server=Account())
            except (EOFError, paramiko.SSHException):
                continue

    threading.Thread(target=serve, daemon=True).start()
    port = listener.getsockname()[1]
    known_hosts.parent.mkdir(parents=True, exist_ok=True)
    known_hosts.write_text(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n")
    try:
        yield f"127.0.0.1:{port}"
    finally:
        listener.close()
        for transport in transports:
            transport.close()
