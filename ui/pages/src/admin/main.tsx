import { createRoot } from 'react-dom/client';
import '../common/base.css';
import { applyTheme } from '../common/theme';

applyTheme();
createRoot(document.getElementById('page')!).render(<h1>Administration</h1>);
