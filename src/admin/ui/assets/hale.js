// What only a browser can do: the menu of a phone, the colours, copying, a question before each change, and news.
'use strict';

document.addEventListener('alpine:init', () => {
  Alpine.data('menu', () => ({
    open: false,
    toggle() { this.open = !this.open; },
    get shown() { return this.open ? 'open' : ''; },
  }));

  Alpine.data('theme', () => ({
    now: document.documentElement.dataset.theme
      || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'),
    get label() { return this.now === 'dark' ? 'Use light colours' : 'Use dark colours'; },
    toggle() {
      this.now = this.now === 'dark' ? 'light' : 'dark';
      document.documentElement.dataset.theme = this.now;
      // The server puts it into the next page, which so comes in the right colours from the start.
      document.cookie = `hale_theme=${this.now}; Path=/ui; Max-Age=31536000; SameSite=Strict`;
    },
  }));

  Alpine.data('copier', () => ({
    word: 'Copy',
    async copy() {
      const text = this.$refs.text;
      try {
        await navigator.clipboard.writeText(text.textContent);
        this.word = 'Copied';
      } catch {
        // Only pages over HTTPS and on this machine may write to the clipboard: mark the text instead.
        getSelection().selectAllChildren(text);
        this.word = 'Press Ctrl+C';
      }
      setTimeout(() => { this.word = 'Copy'; }, 3000);
    },
  }));
});

// A form with a question is sent when it is answered with yes.
document.addEventListener('submit', (event) => {
  const form = event.target;
  const question = form.dataset.confirm;
  const dialog = document.getElementById('confirm');
  if (!question || form.dataset.sure || !dialog) return;
  event.preventDefault();
  event.stopPropagation();
  document.getElementById('confirm-question').textContent = question;
  document.getElementById('confirm-do').textContent = form.dataset.do;
  dialog.returnValue = '';
  dialog.addEventListener('close', () => {
    if (dialog.returnValue !== 'yes') return;
    form.dataset.sure = 'yes';
    form.requestSubmit();
  }, { once: true });
  dialog.showModal();
}, true);

// News: the parts of a page that are kept up to date fetch themselves anew. A page that nobody looks at holds no connection, since a browser
// has only six for one server.
let news = null;
function listen() {
  if (document.hidden) {
    news?.close();
    news = null;
  } else if (!news && document.getElementById('live')) {
    news = new EventSource('/ui/events/stream');
    news.addEventListener('news', () => htmx.trigger(document.body, 'news'));
  }
}
document.addEventListener('visibilitychange', listen);
addEventListener('pagehide', () => { news?.close(); news = null; });
listen();

// Whether what is shown is fresh.
function offline(is) {
  const note = document.getElementById('offline');
  if (note) note.hidden = !is;
}
document.addEventListener('htmx:sendError', () => offline(true));
document.addEventListener('htmx:timeout', () => offline(true));
document.addEventListener('htmx:afterOnLoad', () => offline(false));
