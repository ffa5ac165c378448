import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Certificate {
  cert: string
  key: string
  certFile: string
  keyFile: string
}

export interface Certificates {
  /** Signed all of those below. */
  ca: Certificate
  /** Signed none of them. */
  otherCa: Certificate
  /** For 127.0.0.1 and localhost. */
  server: Certificate
  client: Certificate
  /** For the right host, until February 2020. */
  expired: Certificate
  /** For other.example. */
  wrongHost: Certificate
}

/** Makes a CA and what it signs with the `openssl` command, in a new folder below `dir`. */
export function makeCertificates(dir: string): Certificates {
  const folder = join(dir, 'tls')
  mkdirSync(folder)
  writeFileSync(join(folder, 'openssl.cnf'), config)
  writeFileSync(join(folder, 'index.txt'), '')
  writeFileSync(join(folder, 'serial'), '01\n')
  return {
    ca: makeCa(folder, 'ca'),
    otherCa: makeCa(folder, 'otherCa'),
    server: makeLeaf(folder, 'server', 'host'),
    client: makeLeaf(folder, 'client', 'client'),
    expired: makeLeaf(folder, 'expired', 'host', ['20200101000000Z', '20200201000000Z']),
    wrongHost: makeLeaf(folder, 'wrongHost', 'other_host'),
  }
}

function makeCa(folder: string, name: string): Certificate {
  const request = ['-keyout', `${name}.key`, '-out', `${name}.crt`, '-subj', `/CN=respipe tests ${name}`]
  openssl(folder, ['req', '-x509', ...newKey, '-days', '3650', '-extensions', 'authority', ...request])
  return read(folder, name)
}

function makeLeaf(folder: string, name: string, extensions: string, valid?: [from: string, to: string]): Certificate {
  const dates = valid ? ['-startdate', valid[0], '-enddate', valid[1]] : ['-days', '3650']
  openssl(folder, ['req', '-new', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`])
  const files = ['-in', `${name}.csr`, '-out', `${name}.crt`]
  openssl(folder, ['ca', '-batch', '-notext', '-config', 'openssl.cnf', '-extensions', extensions, ...dates, ...files])
  return read(folder, name)
}

function read(folder: string, name: string): Certificate {
  const certFile = join(folder, `${name}.crt`)
  const keyFile = join(folder, `${name}.key`)
  return { certFile, keyFile, cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') }
}

function openssl(folder: string, args: string[]): void {
  execFileSync('openssl', args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] })
}

const newKey = ['-config', 'openssl.cnf', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']

const config = `
[req]
distinguished_name = name
prompt = no
[name]
CN = respipe tests
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[ca]
default_ca = signing
[signing]
certificate = ca.crt
private_key = ca.key
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = policy
unique_subject = no
[policy]
commonName = supplied
[host]
basicConstraints = CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1, DNS:localhost
[other_host]
basicConstraints = CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:other.example
[client]
basicConstraints = CA:FALSE
extendedKeyUsage = clientAuth
`
