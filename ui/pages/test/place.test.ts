import { expect, test } from 'vitest';
import { hubBase, serviceBase } from '../src/common/place';

test.each([
  ['/services/terminals/admin', '/services/terminals/', '/hub/'],
  ['/@/space%20word/services/terminals/admin', '/@/space%20word/services/terminals/', '/@/space%20word/hub/'],
  ['/services/x/services/terminals/admin', '/services/x/services/terminals/', '/services/x/hub/']
])('%s', (path, service, hub) => {
  expect(serviceBase(path)).toBe(service);
  expect(hubBase(service)).toBe(hub);
});
