"""A certificate authority and certificates per name, made once per run with the openssl command."""

import os
import ssl
import subprocess


class Pki:
    def __init__(self, directory):
        self.directory = str(directory)
        self.ca = os.path.join(self.directory, "ca.pem")
        self._ca_key = os.path.join(self.directory, "ca.key")
        self._key = os.path.join(self.directory, "leaf.key")
        self._certs = {}
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                 "-subj", "/CN=mc-proxy test CA", "-addext", "basicConstraints=critical,CA:TRUE",
                 "-addext", "keyUsage=critical,keyCertSign", "-keyout", self._ca_key, "-out", self.ca)
        _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self._key)

    def cert(self, name):
        """(certificate file, key file) for a name."""
        if name not in self._certs:
            base = os.path.join(self.directory, name.replace("*", "_"))
            with open(base + ".ext", "w", encoding="ascii") as f:
                f.write(f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
            _openssl("req", "-new", "-key", self._key, "-subj", "/CN=test", "-out", base + ".csr")
            _openssl("x509", "-req", "-in", base + ".csr", "-CA", self.ca, "-CAkey", self._ca_key, "-days", "30",
                     "-set_serial", str(len(self._certs) + 2), "-extfile", base + ".ext", "-out", base + ".pem")
            self._certs[name] = base + ".pem"
        return self._certs[name], self._key

    def client_cert(self, name, is_expired=False):
        """(certificate file, key file) that a client shows; is_expired: in 2020."""
        base = os.path.join(self.directory, f"client-{name}")
        dates = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"] if is_expired else ["-days", "30"]
        with open(base + ".cnf", "w", encoding="ascii") as f:
            f.write(f"[ca]\ndefault_ca=here\n[here]\ndatabase={base}.txt\nnew_certs_dir={self.directory}\nrand_serial=yes\n"
                    "default_md=sha256\npolicy=any\nunique_subject=no\n[any]\ncommonName=supplied\n"
                    "[client]\nextendedKeyUsage=clientAuth\nbasicConstraints=CA:FALSE\n")
        with open(base + ".txt", "w", encoding="ascii"):
            pass
        _openssl("req", "-new", "-key", self._key, "-subj", f"/CN={name}", "-out", base + ".csr")
        _openssl("ca", "-batch", "-notext", "-config", base + ".cnf", "-extensions", "client", "-cert", self.ca,
                 "-keyfile", self._ca_key, *dates, "-in", base + ".csr", "-out", base + ".pem")
        return base + ".pem", self._key

    def server_context(self, name, version=None):
        """version pins the protocol (ssl.TLSVersion)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.cert(name))
        return _pin(context, version)

    def client_context(self, version=None):
        return _pin(ssl.create_default_context(cafile=self.ca), version)


def _pin(context, version):
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def _openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True)
