// Where things are: from the page's own address, so that any base URL works.

/** The control service's prefix, as `/base/services/terminals/`. */
export function serviceBase(path: string = location.pathname): string {
  return path.slice(0, path.lastIndexOf('/') + 1);
}

/** JupyterHub's own prefix, as `/base/hub/`. */
export function hubBase(service: string = serviceBase()): string {
  const cut = service.lastIndexOf('services/');
  return cut < 0 ? '/hub/' : `${service.slice(0, cut)}hub/`;
}
