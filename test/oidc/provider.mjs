// A real OpenID provider for the tests. The first argument is JSON: clients and accounts,
// and the audience of access tokens. It writes its address as a line, takes other keys at
// each line "rotate" on its standard input, says so, and ends with that input.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

console.info = console.warn = () => {}; // that its keys are made here is known
const settings = JSON.parse(process.argv[2]);
const scopes = ['openid', 'profile', 'groups'];

function newKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: randomUUID() };
}

// Everybody has consented to everything.
async function consented({ oidc }) {
  const id = oidc.result?.consent?.grantId || oidc.session.grantIdFor(oidc.client.clientId);
  if (id) return oidc.provider.Grant.find(id);
  const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
  grant.addOIDCScope(scopes.join(' '));
  await grant.save();
  return grant;
}

function newProvider(issuer) {
  const provider = new Provider(issuer, {
    clients: settings.clients,
    jwks: { keys: [newKey()] },
    cookies: { keys: ['of the tests'] },
    scopes,
    claims: { openid: ['sub'], profile: ['preferred_username', 'name'], groups: ['groups'] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    findAccount: (_, id) => settings.accounts[id] && { accountId: id, claims: () => ({ sub: id, ...settings.accounts[id] }) },
    loadExistingGrant: consented,
    fetch: (address, { dispatcher: _, ...options }) => fetch(address, options), // the tests' server is on this machine
    features: {
      devInteractions: { enabled: true },
      rpInitiatedLogout: { enabled: true },
      backchannelLogout: { enabled: true },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_, client) => (client.grantTypeAllowed('client_credentials') ? settings.audience : undefined),
        getResourceServerInfo: () => ({ audience: settings.audience, scope: 'underseal:job:*', accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } }),
      },
    },
  });
  for (const event of ['server_error', 'authorization.error', 'grant.error', 'backchannel.error']) {
    provider.on(event, (_, ...about) => console.error(event, ...about));
  }
  return provider.callback();
}

let answer;
const server = createServer((request, response) => answer(request, response));
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  answer = newProvider(issuer);
  process.stdout.write(`${issuer}\n`);
  const lines = createInterface({ input: process.stdin });
  lines.on('line', () => {
    answer = newProvider(issuer); // what was signed in stays: it is kept beside
    process.stdout.write('rotated\n');
  });
  lines.on('close', () => process.exit(0));
});
