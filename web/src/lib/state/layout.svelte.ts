// What is open on the screen: sidebar, help, and the signals that shortcuts send.
const storage_key = 'hearth.sidebar';
const narrow = matchMedia('(max-width: 48rem)');

class Layout {
  isNarrow = $state(narrow.matches);
  /** On a narrow screen the sidebar is a drawer over the page and starts closed. */
  sidebar = $state(!narrow.matches && localStorage.getItem(storage_key) !== 'hidden');
  shortcuts = $state(false);
  palette = $state(false);
  /** Raised to ask the composer for the focus. */
  focusComposer = $state(0);
  /** Set to ask the search field for the focus, which may have to appear first. */
  searchWished = $state(false);

  constructor() {
    narrow.addEventListener('change', () => {
      this.isNarrow = narrow.matches;
      this.sidebar = !narrow.matches && localStorage.getItem(storage_key) !== 'hidden';
    });
  }

  toggleSidebar = (): void => {
    this.sidebar = !this.sidebar;
    if (!this.isNarrow) localStorage.setItem(storage_key, this.sidebar ? 'shown' : 'hidden');
  };

  /** Following a link in the drawer closes it. */
  closeDrawer = (): void => {
    if (this.isNarrow) this.sidebar = false;
  };
}

export const layout = new Layout();
