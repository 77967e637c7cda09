// Runs before the first paint, so that a chosen theme never flashes the other one.
// A file of its own because the content security policy forbids inline scripts.
try {
  var theme = localStorage.getItem('hearth.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be switched off; the system's theme then applies.
}
