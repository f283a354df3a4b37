// Light, dark, or what the system says.

const kName = 'millrace.theme';
const kThemes = ['auto', 'light', 'dark'];

export function theme() {
  const chosen = localStorage.getItem(kName);
  return kThemes.includes(chosen) ? chosen : 'auto';
}

export function showTheme() {
  document.documentElement.dataset.theme = theme();
}

export function nextTheme() {
  localStorage.setItem(kName, kThemes[(kThemes.indexOf(theme()) + 1) % kThemes.length]);
  showTheme();
}
